"""Rows of a table as numbers: what trainer and server do alike, cell by cell, so that both see the same row."""

from __future__ import annotations

from .cells import CellError, as_text, is_missing
from .columns import BooleanColumn, CategoryColumn, ColumnKind, MomentColumn, NumberColumn
from .history import History, Past
from .schema import TABLE, Dropped, TableSchema

__all__ = [
    "TABLE",
    "BooleanColumn",
    "CategoryColumn",
    "CellError",
    "ColumnKind",
    "Dropped",
    "History",
    "MomentColumn",
    "NumberColumn",
    "Past",
    "TableSchema",
    "as_text",
    "is_missing",
]
