"""The first moments of a worker process: tie its life to its supervisor's, name it as an owner, become the program.

Run as `python -m autoglm_cli.child <supervisor pid> <program> [argument…]`. It is a process of its own because what
it does must happen between fork and exec, where a parent with threads may not run Python.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from autoglm_api.environment import OWNER_IDENTITY

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Never returns: the process becomes the program, or ends because its supervisor is gone already."""
    supervisor, *program = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(supervisor):
        sys.exit(f"the supervisor {supervisor} is gone")
    # The supervisor knows the start time, only this process its own id; together they are never used twice.
    os.environ[OWNER_IDENTITY] = f"{os.getpid()}@{os.environ.get(OWNER_IDENTITY, '')}"
    os.execv(program[0], program)  # noqa: S606  the program is our own


if __name__ == "__main__":
    main(sys.argv[1:])
