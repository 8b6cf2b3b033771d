"""The rows of one source, whatever their format, read piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from pydantic import JsonValue

from autoglm_api.locations import Location
from autoglm_trainer.errors import DataError

from .delimited import looks_like_row
from .detection import Detected, Format
from .json_rows import SEEN
from .numbering import Numbering

Locate = Callable[[str], Location]
Numbered = Iterator[tuple[int, dict[str, JsonValue]]]
# A picture's name → how its file is read; None where no picture has the name.
Find = Callable[[str], Callable[[], bytes] | None]


@dataclass(frozen=True)
class Records:
    """The rows of one source. Each iteration reads its files anew, and never holds more of them than some rows.

    Attributes:
        source: the URI.
        detected: format and encoding; of several files the first one's.
        columns: of CSV and TSV the header's, of Parquet and Arrow the schema's, of CoNLL their numbers from 1; of JSON
            the names that its first 1,000 rows use. Columns without a name and columns of bytes are left out.
        pictures: of Images its first column, of Parquet and Arrow those of pictures' bytes; a row has a picture's name.
        find_picture: how a picture is read that a row names.
        passed_over: of Images, how many files beside them are hidden or no images.
        classes: of Parquet and Arrow, column → the names that its numbers stand for, where the schema has them.
        rest: lets go of what is kept for the next picture; it may be read all the same.
        parts: the files, where there are several.
    """

    source: str
    detected: Detected
    columns: tuple[str, ...]
    _begin: Callable[[], Numbered]
    pictures: tuple[str, ...] = ()
    find_picture: Find = lambda _: None
    passed_over: int = 0
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rest: Callable[[], None] = lambda: None
    parts: tuple[Records, ...] = ()

    @property
    def format(self) -> Format:
        """CSV, TSV, JSON, JSONL, Parquet, Arrow, CoNLL, SQuAD, or Images in folders."""
        return self.detected.format

    @property
    def read_as(self) -> str:
        """What it was taken for, for people."""
        if not self.parts:
            return str(self.detected)
        kinds = " and ".join(dict.fromkeys(str(part.detected) for part in self.parts))
        return f"{len(self.parts):,} {'file' if len(self.parts) == 1 else 'files'} of {kinds}"

    @cached_property
    def numbering(self) -> Numbering:
        """What rows are numbered by: lines in texts of a row a line, else rows."""
        counted = "line" if self.format in ("CSV", "TSV", "JSONL", "CoNLL") else "row"
        return Numbering(counted, tuple(part.source for part in self.parts))

    @property
    def headless(self) -> bool:
        """Whether what should be a header looks like a row, by itself or since a cell of it stands below it again."""
        if self.format not in ("CSV", "TSV"):
            return False
        first = islice(self, SEEN)
        return looks_like_row(self.columns) or any(row.get(name) == name for _, row in first for name in self.columns)

    def where(self, number: int) -> str:
        """A row's place as messages name it: `s3://b/train.csv, line 3`."""
        return self.numbering.where(self.source, number)

    def through(self, step: Callable[[Numbered], Numbered]) -> Records:
        """The same source, its rows passed through `step`: left out, changed, or looked at."""
        return replace(self, _begin=lambda: step(iter(self)))

    def __iter__(self) -> Numbered:
        """Each row with its number: column → value.

        Values are strings in CSV and TSV, lists of strings in CoNLL, and as typed elsewhere (times as ISO 8601,
        decimals as numbers, classes by name where the schema has their names). None = missing: null, NaN, and an empty
        cell of CSV or TSV.

        Raises:
            DataError: a row is broken, or the file cannot be read to its end.
        """
        try:
            yield from self._begin()
        except (EOFError, zlib.error, OSError) as error:
            raise DataError(f"{self.source}: cannot be read to its end ({error}); write or upload it again") from error
