"""A full disk, which every library tells in its own way."""

from __future__ import annotations

import errno
import os

from autoglm_trainer.errors import DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


def disk_full(error: BaseException | None) -> DiskFull | None:
    """The sentence for an error that a full disk, or a quota on it, is behind; None for every other one."""
    while error is not None:
        told = isinstance(error, OSError) and error.errno in _FULL
        if told or any(os.strerror(number) in str(error) for number in _FULL):
            said = " ".join(str(error).split())[:300]
            return DiskFull(
                f"no room is left on a disk ({said}): weights and checkpoints need some in the worker's scratch folder"
                " and where the artifacts are kept"
            )
        error = error.__cause__ or error.__context__
    return None
