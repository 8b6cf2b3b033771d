"""The rows of question answering: read, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autoglm_api.catalog.question_answering import QUESTION_ANSWERING
from autoglm_api.locations import Location
from autoglm_api.manifest import DataDigests
from autoglm_api.study import Data

from .errors import DataError
from .formats import read_cells
from .sources import read_bytes

_SHOWN = 60


@dataclass(frozen=True)
class Question:
    """A question about a context. `start` is the answer's first character; None = the context does not answer it."""

    question: str
    context: str
    answer: str
    start: int | None
    line: int


@dataclass(frozen=True)
class Questions:
    """The rows of one source, in its order."""

    source: str
    rows: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """sha256 of the rows as read."""
        state = hashlib.sha256()
        for row in self.rows:
            cells = [row.question, row.context, row.answer, row.start]
            state.update(json.dumps(cells, ensure_ascii=False).encode() + b"\n")
        return f"sha256:{state.hexdigest()}"


@dataclass(frozen=True)
class Splits:
    """A study's rows by split; `test` only where the study names it."""

    rows: Mapping[str, Questions]

    @property
    def may_be_absent(self) -> bool:
        """Whether the training rows hold questions without an answer."""
        return any(row.start is None for row in self.rows["train"].rows)

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read and split."""
        return DataDigests(**{split: rows.digest for split, rows in self.rows.items()})


def load_questions(data: Data, locate: Callable[[str], Location], *, seed: int) -> Splits:
    """Read all sources, hold out validation rows if asked to.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = QUESTION_ANSWERING.named_columns(data.columns)

    def read(source: str) -> Questions:
        return read_questions(source, locate, columns)

    train = read(data.train.source)
    if data.validation.source is not None:
        validation = read(data.validation.source)
    else:
        assert data.validation.fraction is not None, "the spec holds exactly one of source and fraction"
        train, validation = hold_out(train, data.validation.fraction, seed=seed)
    splits = {"train": train, "validation": validation}
    if data.test is not None:
        splits["test"] = read(data.test.source)
    if all(row.start is None for row in train.rows):
        raise DataError(f"{train.source}: none of the {len(train)} training rows has an answer; add some that have")
    return Splits(splits)


def read_questions(source: str, locate: Callable[[str], Location], columns: Mapping[str, str]) -> Questions:
    """Read one source.

    Raises:
        DataError: it cannot be had, read, or holds no usable rows.
    """
    try:
        content = read_bytes(source, locate(source), DataError)
    except ValueError as error:
        raise DataError(f"data: {error}") from error
    roles = ("question", "context", "answer", "answer_start")
    names = tuple(columns[role] for role in roles)
    rows = [
        _row(f"{source}, line {line}", names, dict(zip(roles, cells, strict=True)), line)
        for line, cells in read_cells(source, content, names, optional=names[3:])
    ]
    if not rows:
        raise DataError(f"{source}: no rows; it needs at least one with {', '.join(map(repr, names[:3]))}")
    return Questions(source, tuple(rows))


def _row(where: str, names: tuple[str, ...], cells: Mapping[str, str], line: int) -> Question:
    question, context, answer, start = cells["question"], cells["context"], cells["answer"], cells["answer_start"]
    for name, value in zip(names[:2], (question, context), strict=True):
        if not value.strip():
            raise DataError(f"{where}: {name!r} is empty ({value!r}); fill it in or drop the row")
    if not answer.strip():
        return Question(question, context, "", None, line)
    if start == "":
        found = context.find(answer)
        if found < 0:
            raise DataError(f"{where}: the answer {_cut(answer)} does not stand in the context; copy it as it is there")
        return Question(question, context, answer, found, line)
    if not start.lstrip("-").isdigit():
        raise DataError(f"{where}: {names[3]!r} must be a whole number, got {_cut(start)}")
    if context[int(start) : int(start) + len(answer)] != answer or int(start) < 0:
        stands = context[max(0, int(start)) :][: len(answer)]
        raise DataError(
            f"{where}: {names[3]!r} is {start}, but the context has {_cut(stands)} there and the answer is"
            f" {_cut(answer)}; count characters from 0, or leave the column out"
        )
    return Question(question, context, answer, int(start), line)


def hold_out(rows: Questions, fraction: float, *, seed: int) -> tuple[Questions, Questions]:
    """Split by context, so that nothing is validated on a context that was trained on.

    Raises:
        DataError: there is a single context.
    """
    contexts = list(dict.fromkeys(row.context for row in rows.rows))
    if len(contexts) < 2:
        raise DataError(
            f"{rows.source}: no rows can be held out for validation, all have one context; add rows or name a"
            " validation source"
        )
    random.Random(f"{seed}/contexts").shuffle(contexts)
    chosen = set(contexts[: min(max(1, round(len(contexts) * fraction)), len(contexts) - 1)])
    train = tuple(row for row in rows.rows if row.context not in chosen)
    validation = tuple(row for row in rows.rows if row.context in chosen)
    return Questions(rows.source, train), Questions(f"{rows.source} (held out)", validation)


def _cut(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
