"""Why the server does not start or a job ends badly. Each error knows its exit code; the text is for people.

ServingError
├── BadInstructionError      64  an environment variable is missing, or a place is not one
├── IncompleteModelError     65  no manifest, or a file is missing: half an upload
│   └── DigestMismatchError  65  the bytes are not those that were promised
├── StorageUnreachableError  69  the store refused or did not answer
└── UnusableModelError       70  a complete model that this server cannot run
"""

from __future__ import annotations

from autoglm_api.exits import Cause, ExitCode


class ServingError(Exception):
    """The root; `str()` is a sentence that says what to do."""

    exit_code = ExitCode.OTHER
    cause = Cause.CRASHED


class BadInstructionError(ServingError):
    """The process was told something that it cannot do."""

    exit_code = ExitCode.SPEC
    cause = Cause.SPEC


class IncompleteModelError(ServingError):
    """The folder is not a complete model."""

    exit_code = ExitCode.DATA
    cause = Cause.DATA


class DigestMismatchError(IncompleteModelError):
    """The folder holds other bytes than the digest names."""


class StorageUnreachableError(ServingError):
    """The place cannot be read or written now; trying again may help."""

    exit_code = ExitCode.STORAGE
    cause = Cause.STORAGE


class UnusableModelError(ServingError):
    """The files are whole, but the graph or the tokenizer cannot be used."""
