"""Rows on this machine as a study reads them, for a look at some: the trainer's door, where it is installed."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from autoglm_api.locations import locate

if TYPE_CHECKING:
    from autoglm_trainer.rows.records import Records

# The encoding of a text is told by all of it, which must not take a second.
_LARGE = 2**25
_NOT_READ_WHOLE = (".parquet", ".arrow", ".feather")
_NEEDED = ("fsspec", "huggingface_hub", "pyarrow")


def records_of(path: Path) -> Records | None:
    """The rows of a file or folder; None without the trainer's packages, and of large texts.

    Raises:
        ValueError: it cannot be read; the sentence says why.
    """
    if not all(map(find_spec, _NEEDED)):
        return None
    if path.is_file() and path.stat().st_size > _LARGE and path.suffix not in _NOT_READ_WHOLE:
        return None
    from autoglm_trainer.errors import TrainerError
    from autoglm_trainer.rows.door import read_records

    try:
        return read_records(path.as_uri(), partial(locate, claims_root=Path("/"), credentials={}))
    except TrainerError as error:
        raise ValueError(str(error)) from error
