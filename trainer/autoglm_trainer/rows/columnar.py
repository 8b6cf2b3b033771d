"""Parquet and Arrow (files, streams, Feather of version 2): read batch by batch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from autoglm_trainer.errors import DataError

from .features import class_names, features_of, named
from .held_pictures import Held, Piece, picture_columns
from .opened import Opened

# Pictures are large.
_BATCH_ROWS, _PICTURE_ROWS = 1_024, 64
_FILE = b"ARROW1"
# What pandas writes of an index that has no name.
_INDEX = "__index_level_"
log = logging.getLogger(__name__)


@dataclass
class Columnar:
    """One file.

    Attributes:
        kind: Parquet or Arrow.
    """

    source: str
    opened: Opened
    kind: str
    _held: Held = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._held = Held(self.source, lambda: self._pieces(self.pictures))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold values which JSON knows, hence none of bytes.

        Raises:
            DataError: broken file, or two columns of one name.
        """
        return tuple(each.name for each in self._fields if not _holds_bytes(each.type))

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """The columns of pictures: bytes alone, or beside the name of the file that they were.

        Raises:
            DataError: as `columns`.
        """
        with self._explained():
            return picture_columns(self._fields, features_of(self._schema), self._first)

    @cached_property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """Column → the names that its numbers stand for, where the schema has them."""
        found = {name: class_names(feature) for name, feature in features_of(self._schema).items()}
        return {name: names for name, names in found.items() if names and name in self.columns}

    def find_picture(self, name: str) -> Callable[[], bytes] | None:
        """How a picture is read whose name stands in a row; None where it is no name of this file."""
        return self._held.find(name)

    def rest(self) -> None:
        """Keep nothing between pictures; see `Held`."""
        self._held.rest()

    def rows(self) -> Iterator[tuple[int, dict[str, JsonValue]]]:
        """Each row with its number, from 1. Pictures have names, by which they are found.

        Raises:
            DataError: broken file.
        """
        for piece in self._pieces((*self.columns, *self.pictures)):
            with self._explained():
                plain = piece.batch.select(list(self.columns)).to_pylist()
                named_pictures = self._held.names(piece, self.pictures)
            for number, row, names in zip(piece.numbers, plain, named_pictures, strict=True):
                yield number, {**{name: self._value(number, name, row[name]) for name in row}, **names}

    def _value(self, number: int, name: str, value: Any) -> JsonValue:
        plain = _plain(value)
        if name not in self.classes:
            return plain
        try:
            return named(plain, self.classes[name])
        except ValueError as error:
            raise DataError(f"{self.source}, row {number}: {name!r} {error}; write the file again") from error

    @cached_property
    def _schema(self) -> pa.Schema:
        with self._explained(), self.opened.binary() as file:
            return pq.ParquetFile(file).schema_arrow if self.kind == "Parquet" else _arrow(file).schema

    @cached_property
    def _fields(self) -> tuple[pa.Field, ...]:
        schema = self._schema
        for name in schema.names:
            if (count := schema.names.count(name)) > 1:
                raise DataError(f"{self.source}: the column {name[:60]!r} stands there {count} times; keep one")
        return tuple(each for each in schema if not each.name.startswith(_INDEX))

    def _first(self, column: str) -> Any:
        """The first value in a column that is none; None where there is none."""
        for piece in self._pieces((column,)):
            for value in piece.batch.column(column):
                if value.is_valid:
                    return value.as_py()
        return None

    def _pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """The file in parts of some rows."""
        size = _BATCH_ROWS if set(names) <= set(self.columns) else _PICTURE_ROWS
        first = 1
        with self.opened.binary() as file:
            with self._explained():
                batches = _batches(file, self.kind, list(names), size)
            while True:
                with self._explained():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield Piece(first, batch)
                first += batch.num_rows

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        # A broken length asks for more memory than there is.
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            told = " ".join(str(error).split())[:200]
            raise DataError(f"{self.source}: not readable as {self.kind} ({told}); write the file again") from error


def _arrow(file: Any) -> Any:
    is_file = file.read(len(_FILE)) == _FILE
    file.seek(0)
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def _batches(file: Any, kind: str, names: list[str], size: int) -> Iterator[pa.RecordBatch]:
    if kind == "Parquet":
        yield from pq.ParquetFile(file).iter_batches(size, columns=names)
        return
    reader = _arrow(file)
    whole = map(reader.get_batch, range(reader.num_record_batches)) if hasattr(reader, "get_batch") else reader
    for batch in whole:
        # Arrow trusts the offsets in a file; wrong ones would end the process.
        batch.validate(full=True)
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size).select(names)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))


def _plain(value: Any) -> JsonValue:
    """A value as JSON knows it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return None if math.isnan(value) else value
        case Decimal():
            return float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return str(value)
