"""`autoglm run` with the stand-in worker, as a process of its own: what signals and a terminal do to it is real."""

from __future__ import annotations

from functools import partial

import autoglm_cli.local
from autoglm_cli.main import main

if __name__ == "__main__":
    setattr(autoglm_cli.local, "LocalRun", partial(autoglm_cli.local.LocalRun, worker="tests.cli.standin"))  # noqa: B010
    main()
