"""Parquet and Arrow (files, streams, Feather of version 2): read batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from autoglm_trainer.errors import DataError

from .opened import Opened

_BATCH_ROWS = 1_024
_FILE = b"ARROW1"
# What pandas writes of an index that has no name.
_INDEX = "__index_level_"


def columnar_columns(source: str, opened: Opened, kind: str) -> tuple[str, ...]:
    """The columns that hold values which JSON knows, hence none of bytes.

    Raises:
        DataError: broken file, or two columns of one name.
    """
    with _explained(source, kind), opened.binary() as file:
        return _names(source, _schema(file, kind))


def columnar_rows(source: str, opened: Opened, kind: str) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """Each row with its number, from 1.

    Raises:
        DataError: broken file.
    """
    number = 0
    with opened.binary() as file:
        with _explained(source, kind):
            names = list(_names(source, _schema(file, kind)))
            batches = _batches(file, kind, names)
        while True:
            with _explained(source, kind):
                batch = next(batches, None)
                rows = [] if batch is None else batch.select(names).to_pylist()
            if batch is None:
                return
            for row in rows:
                number += 1
                yield number, {name: _plain(value) for name, value in row.items()}


def _schema(file: Any, kind: str) -> pa.Schema:
    schema = pq.ParquetFile(file).schema_arrow if kind == "Parquet" else _arrow(file).schema
    file.seek(0)
    return schema


def _arrow(file: Any) -> Any:
    is_file = file.read(len(_FILE)) == _FILE
    file.seek(0)
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def _batches(file: Any, kind: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    if kind == "Parquet":
        yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=names)
        return
    reader = _arrow(file)
    whole = map(reader.get_batch, range(reader.num_record_batches)) if hasattr(reader, "get_batch") else reader
    for batch in whole:
        # Arrow trusts the offsets in a file; wrong ones would end the process.
        batch.validate(full=True)
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.slice(start, _BATCH_ROWS)


def _names(source: str, schema: pa.Schema) -> tuple[str, ...]:
    names = [field.name for field in schema if not field.name.startswith(_INDEX) and not _holds_bytes(field.type)]
    for name in names:
        if schema.names.count(name) > 1:
            raise DataError(
                f"{source}: the column {name[:60]!r} stands there {schema.names.count(name)} times; keep one"
            )
    return tuple(names)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))


@contextmanager
def _explained(source: str, kind: str) -> Iterator[None]:
    try:
        yield
    # A broken length asks for more memory than there is.
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(f"{source}: not readable as {kind} ({told}); write the file again") from error


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
