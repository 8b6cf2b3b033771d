"""CoNLL: a word a line with its columns, a blank line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from pydantic import JsonValue

from autoglm_trainer.errors import DataError

_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[A-Z]-\S+")


def conll_rows(source: str, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """The sentences, each with the line it starts at: a column's number, from 1, → its words.

    Columns stand between tabs, or between spaces where a line has no tab. `-DOCSTART-` lines are left out, and so are
    lines that begin with `#` and have no tag where the others have theirs; a word may begin with `#`.

    Raises:
        DataError: lines of different widths.
    """
    width = 0
    begun = 0
    words: list[list[str]] = []
    for number, content in enumerate(chain(lines, ("\n",)), start=1):
        fields = _fields(content)
        if not fields:
            if words:
                yield begun, {str(place + 1): [word[place] for word in words] for place in range(width)}
            words = []
        elif fields[0] != _DOCUMENT and not _is_comment(fields, width):
            width = width or len(fields)
            if len(fields) != width:
                raise DataError(
                    f"{source}, line {number}: {len(fields)} columns where the lines before have {width};"
                    " give each word all of them, and each sentence a blank line at its end"
                )
            begun = begun if words else number
            words.append(fields)


def looks_tagged(lines: Sequence[str]) -> bool:
    """Whether some column behind the first holds a tag in every line that is neither empty nor a comment."""
    found = [fields for line in lines if (fields := _fields(line)) and fields[0] != _DOCUMENT]
    found = [fields for fields in found if not _is_comment(fields, 0)]
    width = min(map(len, found), default=0)
    return any(all(_TAG.fullmatch(fields[place]) for fields in found) for place in range(1, width))


def column_number(where: str, name: str, columns: Sequence[str], *, last: bool) -> str:
    """Which of the numbered columns a name means: its number, or else the first or the last.

    Raises:
        DataError: there is no such column, or one alone.
    """
    if len(columns) < 2:
        raise DataError(
            f"{where}: {len(columns)} column where 2 are needed, the word and its tag;"
            " put a tab or a space between them"
        )
    if not name.isdecimal():
        return columns[-1 if last else 0]
    if name not in columns:
        raise DataError(f"{where}: no column {name}, there are {len(columns)}; data.columns counts from 1")
    return name


def _fields(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    if not line.strip():
        return []
    return [field.strip() for field in line.split("\t")] if "\t" in line else line.split()


def _is_comment(fields: Sequence[str], width: int) -> bool:
    """Whether a line is none of a word; `width` 0 = not known yet."""
    if not fields[0].startswith("#") or (width == len(fields) and fields[0] != "#"):
        return False
    return width not in (0, len(fields)) or not any(map(_TAG.fullmatch, fields[1:]))
