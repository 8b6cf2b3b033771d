"""CoNLL: a word a line with its columns, a blank line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from autoglm_trainer.errors import DataError

_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[A-Z]-\S+")


def conll_sentences(source: str, text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    """The sentences, each with the line it starts at and one list of words a column.

    Columns stand between tabs, or between spaces where a line has no tab. `-DOCSTART-` lines are left out, and so are
    lines that begin with `#` and have no tag where the others have theirs; a word may begin with `#`.

    Args:
        source: for messages.
        text: the file.
        columns: the wanted ones by number, from 1; a name means the first for the first, and the last for others.

    Raises:
        DataError: lines of different widths, or no such column.
    """
    width, wanted = 0, list[int]()
    lines: list[tuple[int, list[str]]] = []
    for number, content in enumerate(f"{text}\n\n".split("\n"), start=1):
        fields = _fields(content)
        if not fields:
            if lines:
                yield lines[0][0], [[of_word[place] for _, of_word in lines] for place in wanted]
            lines = []
        elif fields[0] != _DOCUMENT and not _is_comment(fields, width, columns[-1]):
            if not width:
                width, wanted = len(fields), _places(source, number, len(fields), columns)
            if len(fields) != width:
                raise DataError(
                    f"{source}, line {number}: {len(fields)} columns where the lines before have {width};"
                    " give each word all of them, and each sentence a blank line at its end"
                )
            lines.append((number, fields))


def _fields(line: str) -> list[str]:
    line = line.rstrip("\r")
    if not line.strip():
        return []
    return [field.strip() for field in line.split("\t")] if "\t" in line else line.split()


def _is_comment(fields: Sequence[str], width: int, tags: str) -> bool:
    """Whether a line is none of a word; `width` 0 = not known yet, `tags` the column of the tags."""
    if not fields[0].startswith("#") or (width == len(fields) and fields[0] != "#"):
        return False
    tag = fields[int(tags) - 1 : int(tags)] if tags.isdecimal() else fields[-1:]
    return width not in (0, len(fields)) or not _TAG.fullmatch("".join(tag))


def _places(source: str, line: int, width: int, columns: Sequence[str]) -> list[int]:
    """Where the wanted columns stand, from 0."""
    if width < len(columns):
        raise DataError(
            f"{source}, line {line}: {width} column where {len(columns)} are needed, the word and its tag;"
            " put a tab or a space between them"
        )
    named = (0, *(width - 1 for _ in columns[1:]))
    found = [int(name) - 1 if name.isdecimal() else place for name, place in zip(columns, named, strict=True)]
    for name, place in zip(columns, found, strict=True):
        if not 0 <= place < width:
            raise DataError(f"{source}, line {line}: no column {name}, there are {width}; data.columns counts from 1")
    return found
