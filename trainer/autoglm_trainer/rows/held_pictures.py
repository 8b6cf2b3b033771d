"""Pictures whose bytes stand in a column of Parquet or Arrow: found by name, read anew, never all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import pyarrow as pa
from pydantic import JsonValue

from autoglm_api.pictures import PictureError, is_grey
from autoglm_trainer.errors import DataError

from .features import kind_of

_PLACE = " in row "


@dataclass(frozen=True)
class Piece:
    """Some rows of a file; `first` is the number of the first of them."""

    first: int
    batch: pa.RecordBatch

    @property
    def numbers(self) -> range:
        """Of its rows."""
        return range(self.first, self.first + self.batch.num_rows)


@dataclass
class Held:
    """The pictures of one file.

    Who reads them in their order passes the file once: some rows are kept, the others are gone through again.

    Attributes:
        pieces: begins the file anew, its columns of pictures alone.
    """

    source: str
    pieces: Callable[[], Iterator[Piece]]
    _known: Piece | None = field(default=None, repr=False)
    _ahead: Iterator[Piece] = field(default_factory=lambda: iter(()), repr=False)
    _passed: int | None = None

    def names(self, piece: Piece, columns: Sequence[str]) -> list[dict[str, JsonValue]]:
        """For each row of `piece`: column → the picture's name; or its file's where bytes are not held; None = none."""
        self._known = piece
        values = [piece.batch.column(column) for column in columns]
        return [
            {column: _name(column, number, value[place]) for column, value in zip(columns, values, strict=True)}
            for place, number in enumerate(piece.numbers)
        ]

    def find(self, name: str) -> Callable[[], bytes] | None:
        """How the picture of that name is read; None where it is no such name."""
        column, place, number = name.rpartition(_PLACE)
        return partial(self._content, column, int(number)) if place and number.isdecimal() else None

    def rest(self) -> None:
        """Keep no rows, and no file open, until a picture is asked for again."""
        self._known, self._passed, self._ahead = None, None, iter(())

    def _content(self, column: str, number: int) -> bytes:
        piece = self._piece(number)
        value = piece.batch.column(column)[number - piece.first]
        content: bytes | None = (value["bytes"] if isinstance(value, pa.StructScalar) else value).as_py()
        return content if content is not None else self._gone(number)

    def _piece(self, number: int) -> Piece:
        if self._known is not None and number in self._known.numbers:
            return self._known
        if self._passed is None or number < self._passed:
            self._ahead = self.pieces()
        for piece in self._ahead:
            self._known, self._passed = piece, piece.numbers.stop
            if number in piece.numbers:
                return piece
        return self._gone(number)

    def _gone(self, number: int) -> NoReturn:
        raise DataError(f"{self.source}, row {number}: the picture is gone; the file changed while it was read")


def picture_columns(
    fields: Sequence[pa.Field], features: Mapping[str, Any], first: Callable[[str], Any]
) -> tuple[str, ...]:
    """Columns that hold pictures: as the hub's features say, or else as their first value looks.

    Args:
        fields: the schema's.
        features: column → feature.
        first: column → its first value that is not null.
    """
    found = []
    for each in fields:
        if not _may_hold(each.type):
            continue
        told = kind_of(features.get(each.name))
        if told == "Image" or (told in (None, "Value") and _looks(first(each.name))):
            found.append(each.name)
    return tuple(found)


def _may_hold(kind: pa.DataType) -> bool:
    """Whether it is bytes, or `bytes` beside a `path`, as the hub stores pictures."""
    if pa.types.is_struct(kind):
        names = {kind.field(place).name for place in range(kind.num_fields)}
        return "bytes" in names and names <= {"bytes", "path"} and _may_hold(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _looks(value: Any) -> bool:
    content: bytes | None = value["bytes"] if isinstance(value, dict) else value
    if content is None:
        return False
    try:
        is_grey(content)
    except PictureError as error:
        return error.code != "NotImage"
    return True


def _name(column: str, number: int, value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    if isinstance(value, pa.StructScalar) and not value["bytes"].is_valid:
        path: str | None = value["path"].as_py() if "path" in value else None
        return path
    return f"{column}{_PLACE}{number}"
