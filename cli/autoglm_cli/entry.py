"""The console script's first lines: Ctrl-C while Python still reads the commands ends it quietly, too."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the commands, which takes a second, and run one."""
    python_s = signal.getsignal(signal.SIGINT)
    if python_s is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .main import main as run

    signal.signal(signal.SIGINT, python_s)
    run()
