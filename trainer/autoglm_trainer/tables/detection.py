"""Which kind each column of a table is, told from its cells in the training rows, and which columns teach nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from autoglm_api.tables import BooleanColumn, CategoryColumn, ColumnKind, Dropped, MomentColumn, NumberColumn
from autoglm_api.tables.cells import as_moment, as_number, as_text, as_truth, is_missing

# Whole numbers of so few different values may as well be categories.
MOST_LEVELS = 20
# Of a category's values; each may become a feature, and rarer ones are all alike.
MOST_VALUES = 100
# Of a value that a single row has nothing can be learned.
_ROWS_OF_A_VALUE = 2
# A column of texts is a name of rows, or free text, if more than this share of its values stand there once.
_UNIQUE = 0.9
# Below so many rows every column may be unique by accident.
_FEWEST = 20
_DENSE = 0.5
# Numbers with so many different values, and beside them so few words, are numbers: the words stand for missing ones.
_MOST_BLANKS = 3
_ID = re.compile(r"(^|[_\W])(id|uuid|guid|key)$|^(index|unnamed: \d+)$", re.IGNORECASE)
# What people mean by cells that are read as words, and how to write it instead.
_MEANT = (
    (re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})([ T].*)?"), "they look like dates: write 2026-11-28"),
    (
        re.compile(r"[+-]?\d+(\.\d+)?|(?=.*[,%€$£¥])[+-]?[€$£¥]?\s?\d[\d.,]*\s?[%€$£¥]?"),
        "they look like numbers: write 1234.5",
    ),
)


def detect_columns(columns: Mapping[str, Sequence[JsonValue]]) -> tuple[tuple[ColumnKind, ...], tuple[Dropped, ...]]:
    """Typed columns in the given order, and those that are left out.

    Args:
        columns: name → cells of the training rows. A list or an object among them makes a column one to leave out.
    """
    kept: list[ColumnKind] = []
    dropped: list[Dropped] = []
    for name, cells in columns.items():
        found = _detect(name, cells)
        if isinstance(found, str):
            dropped.append(Dropped(name=name, why=found))
        else:
            kept.append(found)
    return tuple(kept), tuple(dropped)


def described(column: ColumnKind) -> str:
    """A column's kind, and what its owner may not have meant."""
    told: str = column.kind
    if isinstance(column, NumberColumn) and column.blanks:
        told += f"; {', '.join(map(repr, column.blanks))} count{'s' * (len(column.blanks) == 1)} as missing"
    if isinstance(column, CategoryColumn) and (meant := _meant(column.values)):
        told += f"; {meant}"
    return told


def _meant(texts: Collection[str]) -> str | None:
    """What all the texts look like, if they look like something else than words."""
    if all(as_number(text) is not None for text in texts):
        return None
    return next((told for form, told in _MEANT if all(map(form.fullmatch, texts))), None)


def _detect(name: str, cells: Sequence[JsonValue]) -> ColumnKind | str:
    known = [cell for cell in cells if not is_missing(cell)]
    texts = [as_text(cell) for cell in known]
    if not known:
        return "it is empty"
    if None in texts:
        return "it holds lists or objects"
    counts = Counter(text for text in texts if text is not None)
    if len(counts) == 1 and len(known) == len(cells):
        return f"it is always {next(iter(counts))!r}"
    if all(as_truth(cell) is not None for cell in known):
        return BooleanColumn(name=name)
    blanks = {text for text, cell in zip(texts, known, strict=True) if text is not None and as_number(cell) is None}
    if not blanks or _stand_for_nothing(blanks, counts):
        return _numbers(name, known, len(cells), tuple(sorted(blanks)))
    moments = [as_moment(cell) for cell in known]
    if all(moment is not None for moment in moments):
        return MomentColumn(name=name, hours=any(moment and (moment.hour or moment.minute) for moment in moments))
    return _words(name, counts, len(cells))


def _stand_for_nothing(blanks: set[str], counts: Counter[str]) -> bool:
    """Whether some words among numbers are no values of their own; among few numbers they may be."""
    numbers = len(counts) - len(blanks)
    cells = sum(count for text, count in counts.items() if text not in blanks)
    return len(blanks) <= _MOST_BLANKS and numbers > MOST_LEVELS and 2 * cells >= counts.total()


def _numbers(name: str, known: Sequence[JsonValue], rows: int, blanks: tuple[str, ...]) -> NumberColumn | str:
    numbers = [number for cell in known if (number := as_number(cell)) is not None]
    whole = all(number.is_integer() for number in numbers)
    levels = set(numbers)
    if whole and len(levels) == rows >= _FEWEST:
        # Some of the numbers may be among the held-out rows.
        dense = (max(levels) - min(levels) + 1) * _DENSE <= rows
        in_turn = dense and all(one < other for one, other in pairwise(numbers))
        if in_turn or _ID.search(name):
            return "it names the rows: every one has a number of its own"
    few = whole and len(levels) <= MOST_LEVELS
    return NumberColumn(name=name, levels=tuple(sorted(map(int, levels))) if few else (), blanks=blanks)


def _words(name: str, counts: Counter[str], rows: int) -> CategoryColumn | str:
    total = sum(counts.values())
    if rows >= _FEWEST and sum(count == 1 for count in counts.values()) > _UNIQUE * total:
        words = sum(len(text.split()) for text in counts) / len(counts)
        meant = _meant(counts)
        if meant is not None:
            return f"nearly every cell is a word of its own, and {meant}"
        if words >= 3:
            return "it holds free text; text-classification learns from texts"
        return "it names the rows: nearly every one has a value of its own"
    # By count, then by word: the same rows in another order give the same table.
    known = [item for item in counts.items() if item[1] >= _ROWS_OF_A_VALUE]
    frequent = sorted(known, key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
    return CategoryColumn(
        name=name,
        values=tuple(text for text, _ in frequent),
        shares=tuple(count / rows for _, count in frequent),
    )
