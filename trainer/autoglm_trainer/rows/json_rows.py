"""JSON in its three shapes: an object a line, an array of objects, and SQuAD's articles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from pydantic import JsonValue

from autoglm_trainer.errors import DataError

# So many rows are looked at for the names of columns.
SEEN = 1_000
_EXAMPLE = '{"text": "…", "label": "…"}'
_PIECE = 2**16
_LARGEST = 2**26
# A JSON error nearer to the end of what is known than this may only mean that more is to come.
_NEAR = 16


def line_rows(source: str, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """An object a line; empty lines are left out.

    Raises:
        DataError: a line is no JSON object.
    """
    # Lines end with \n alone: JSON strings may hold U+2028 and the like.
    for line, content in enumerate(lines, start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content, parse_constant=_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{source}, line {line}: not JSON ({_told(error, content)}); each line must be one object such as"
                f" {_EXAMPLE}, or the file one array of objects"
            ) from error
        yield line, _object(f"{source}, line {line}", row)


def _told(error: Exception, content: str) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    if error.msg.startswith("Unterminated") or error.pos >= len(content.rstrip()):
        return "it ends within the object"
    return f"{error.msg} at character {error.pos + 1}"


def array_rows(source: str, text: TextIO) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """The objects of one array.

    Raises:
        DataError: the text is no array of objects.
    """
    with text:
        for number, item in enumerate(_items(source, text), start=1):
            yield number, _object(f"{source}, row {number}", item)


def squad_rows(source: str, text: TextIO) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """The questions of SQuAD's articles, version 1.1 or 2.0, one row each.

    Columns: `id`, `title`, `context`, `question`, `answer` (the first of the answers), `answer_start`; both None where
    the question has no answer.

    Raises:
        DataError: something is not as SQuAD has it.
    """
    number = 0
    with text:
        for place, article in enumerate(_items(source, text, key="data"), start=1):
            try:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        number += 1
                        yield number, _question(article, paragraph, question)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                raise DataError(
                    f"{source}, article {place}, after question {number}: not as SQuAD has it ({error!r}); needed are"
                    " data[].paragraphs[].{context, qas[].{question, answers[].{text, answer_start}}}"
                ) from error


def _question(article: dict[str, Any], paragraph: dict[str, Any], question: dict[str, Any]) -> dict[str, JsonValue]:
    absent = question.get("is_impossible", False) or not question["answers"]
    first = {"text": None, "answer_start": None} if absent else question["answers"][0]
    return {
        "id": question.get("id"),
        "title": article.get("title"),
        "context": paragraph["context"],
        "question": question["question"],
        "answer": first["text"],
        "answer_start": first.get("answer_start"),
    }


def _items(source: str, text: TextIO, key: str | None = None) -> Iterator[Any]:
    """The items of the first array in `text`, one by one; `key` = it is the value of that key.

    Raises:
        DataError: broken JSON, with its line.
    """
    decoder = json.JSONDecoder(parse_constant=_constant)
    reader = _Piecewise(source, text)
    if key is not None:
        reader.skip_to(f'"{key}"')
    reader.skip_to("[")
    if reader.peek() == "]":
        return
    while True:
        yield reader.decode(decoder)
        sign = reader.peek()
        if sign == "]":
            return
        if sign != ",":
            raise reader.broken(f"{sign!r} where ',' or ']' is needed" if sign else "it ends within the array")
        reader.place += 1


class _Piecewise:
    """A text that is read on as far as the next value needs it."""

    def __init__(self, source: str, text: TextIO) -> None:
        self.source, self.text = source, text
        self.known, self.place, self.line = "", 0, 1

    def skip_to(self, mark: str) -> None:
        """Go behind the first `mark`, which detection has seen."""
        while mark not in self.known:
            if not self._more():
                raise self.broken(f"no {mark}")
        self.place = self.known.index(mark, self.place) + len(mark)

    def peek(self) -> str:
        """The next sign that is not white space; empty at the end."""
        while True:
            while self.place < len(self.known) and self.known[self.place] in " \t\r\n":
                self.place += 1
            if self.place < len(self.known):
                return self.known[self.place]
            if not self._more():
                return ""

    def decode(self, decoder: json.JSONDecoder) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, self.place = decoder.raw_decode(self.known, self.place)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated") or error.pos > len(self.known) - _NEAR
                if len(self.known) > _LARGEST or not unfinished or not self._more():
                    raise self.broken(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.broken(str(error)) from error
            else:
                return value

    def broken(self, told: str, place: int | None = None) -> DataError:
        """What is wrong, with its line."""
        line = self.line + self.known.count("\n", 0, self.place if place is None else place)
        return DataError(f"{self.source}, line {line}: not JSON ({told}); the file must be one array of objects")

    def _more(self) -> bool:
        """Read on, in pieces that grow with an unfinished value, so that it is not parsed again too often."""
        self.line += self.known.count("\n", 0, self.place)
        self.known, self.place = self.known[self.place :], 0
        piece = self.text.read(max(_PIECE, len(self.known)))
        self.known += piece
        return bool(piece)


def _constant(name: str) -> float | None:
    """NaN is how some programs write a missing number."""
    return None if name == "NaN" else float(name)


def _object(where: str, row: Any) -> dict[str, JsonValue]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: {type(row).__name__} where an object is needed, such as {_EXAMPLE}")
    return row
