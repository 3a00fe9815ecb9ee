"""What can be wrong with a fault plan. The whole exception tree is drawn in `replay.errors`."""


class PlanError(ValueError):
    """A fault plan or a fault shortcut cannot be used.

    The message is one sentence: which file or option, which key, what was expected.
    """
