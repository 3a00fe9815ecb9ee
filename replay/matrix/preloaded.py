"""What the processes of a matrix have imported before they are forked (`replay.matrix.pool`).

Only the fork server imports this module. Nothing here may start a thread, as polars does: what a
thread holds in the moment of a fork is held for ever in the child.
"""

import jinja2  # noqa: F401

import replay.matrix.run_one
import replay.run.replay_once  # noqa: F401
