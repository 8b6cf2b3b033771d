"""Every error that a person may see from the trainer, with its cause.

TrainerError
├── SpecError      the study asks for what cannot be done; every trial would fail alike (exit 64)
├── DataError      the rows cannot be used; every trial would fail alike (exit 65)
├── NothingToExport  no trial is complete, finite and feasible
├── NothingToReproduce  the trial has no result to compare with
├── ExportError    the exported model does not answer as the trained one
├── SourceUnreachable  the place of data or model does not answer now; a later process may have more luck (exit 70)
├── EndpointUnreachable  the model's endpoint does not answer now; another attempt may have more luck, and costs nothing
├── DiskFull       no room is left on a disk; another attempt may find some
├── NonFinite      this point leads to NaN or infinity; the trial has no result
├── Infeasible     this point cannot be trained here (too much memory, or out of it twice); the search goes on
├── RankLost       another process of data parallel training is gone; this one cannot go on without it
└── Interrupted    the attempt was ended from outside: released, timed out, stopped, lease lost
"""

from __future__ import annotations

from autoglm_api.exits import Cause


class TrainerError(Exception):
    """Root; the message is a sentence for the user."""

    cause = Cause.TASK_ERROR


class SpecError(TrainerError):
    """The study asks for what cannot be done."""

    cause = Cause.SPEC


class DataError(TrainerError):
    """The rows cannot be used."""

    cause = Cause.DATA


class SourceUnreachable(TrainerError):  # noqa: N818 - what is so, not what broke
    """The place of data or model does not answer now."""


class EndpointUnreachable(TrainerError):  # noqa: N818 - what is so, not what broke
    """The model's endpoint does not answer now."""

    cause = Cause.STORAGE


class DiskFull(TrainerError):  # noqa: N818 - what is so, not what broke
    """No room is left on a disk."""


class NothingToExport(TrainerError):  # noqa: N818 - what is so, not what broke
    """No trial is complete, finite and feasible."""


class NothingToReproduce(TrainerError):  # noqa: N818 - what is so, not what broke
    """The trial has no result to compare with."""


class ExportError(TrainerError):
    """The exported model does not answer as the trained one."""


class NonFinite(TrainerError):  # noqa: N818 - what is so, not what broke
    """This point leads to NaN or infinity."""

    cause = Cause.NON_FINITE


class Infeasible(TrainerError):  # noqa: N818 - a verdict about the point, not a fault
    """This point cannot be trained here."""

    cause = Cause.INFEASIBLE


class RankLost(TrainerError):  # noqa: N818 - what is so, not what broke
    """Another process of data parallel training is gone."""

    cause = Cause.CRASHED


class Interrupted(TrainerError):  # noqa: N818 - an outside event, not a fault
    """The attempt was ended from outside."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause
