"""What all tests share: a Hypothesis profile without deadlines, for machines that are busy."""

from importlib.util import find_spec

# tests/gpu runs on machines that have torch and pyarrow and little else.
if find_spec("hypothesis") is not None:
    from hypothesis import settings

    settings.register_profile("kvreplay", deadline=None, max_examples=60, print_blob=True)
    settings.load_profile("kvreplay")
