"""Every way in which a command ends early. The message is a sentence for the person at the terminal; `main` prints it.

CliError              something is wrong (exit 1)
├── UsageError        the command was given what it cannot work with (exit 2)
├── BusyError         another process works on this run (exit 3)
├── SpecChangedError  the file no longer says what the run began with (exit 4)
└── InterruptedRunError  somebody pressed Ctrl-C (exit 130)
"""

from __future__ import annotations


class CliError(Exception):
    """Root; `exit_code` is what the shell sees."""

    exit_code = 1


class UsageError(CliError):
    """The command was given what it cannot work with: a missing file, an unknown run, a missing extra."""

    exit_code = 2


class BusyError(CliError):
    """Another process works on this run."""

    exit_code = 3


class SpecChangedError(CliError):
    """The file no longer says what the run began with."""

    exit_code = 4


class InterruptedRunError(CliError):
    """Somebody pressed Ctrl-C; the same command again goes on."""

    exit_code = 130
