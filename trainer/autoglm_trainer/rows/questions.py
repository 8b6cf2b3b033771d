"""The rows of question answering: read, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from autoglm_api.catalog.question_answering import QUESTION_ANSWERING
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .cells import Row, optional_text, text
from .cleaning import Cleanable
from .holding_out import HoldOut
from .reading import read_splits
from .records import Locate, Records
from .splits import Rows, Splits, cut, some


@dataclass(frozen=True)
class Question:
    """A question about a context. `start` is the answer's first character; None = the context does not answer it."""

    question: str
    context: str
    answer: str
    start: int | None
    line: int

    @property
    def content(self) -> JsonValue:
        """The row as read."""
        return [self.question, self.context, self.answer, self.start]

    @property
    def unit(self) -> str:
        """The context."""
        return self.context


_HOLD_OUT = HoldOut[Question](stratum=lambda _: "", single="all have one context")


def may_be_absent(splits: Splits[Question]) -> bool:
    """Whether the training rows hold questions without an answer."""
    return any(row.start is None for row in splits.train)


def load_questions(data: Data, locate: Locate, *, seed: int) -> Splits[Question]:
    """Read all sources, hold out validation rows if asked to.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = QUESTION_ANSWERING.named_columns(data.columns)
    splits = read_splits(
        data,
        locate,
        lambda records: read_questions(records, columns),
        hold_out=lambda _: _HOLD_OUT,
        seed=seed,
        cleanable=cleanable(columns),
    )
    if all(row.start is None for row in splits.train):
        raise DataError(
            f"{data.train.source}: none of the {len(splits.train)} training rows has an answer; add some that have"
        )
    return splits


def cleanable(columns: Mapping[str, str]) -> Cleanable:
    """What cleaning may do to training rows. `columns`: role → name."""
    return Cleanable((columns["question"], columns["context"]))


def read_questions(records: Records, columns: Mapping[str, str]) -> Rows[Question]:
    """The rows of one source.

    Raises:
        DataError: they cannot be read, or none is there.
    """
    names = tuple(columns[role] for role in ("question", "context", "answer", "answer_start"))
    rows = [_row(records.where(line), names, _cells(records, line, row, names), line) for line, row in records]
    return some(records, rows, names[:3])


def _cells(records: Records, line: int, row: Row, names: tuple[str, ...]) -> tuple[str, str, str, str]:
    """Question, context, answer and start; `answers` as the hub's SQuAD has them give the first of them."""
    question, context = (text(records, line, row, name) for name in names[:2])
    answers = row.get(names[2])
    if isinstance(answers, dict) and isinstance(answers.get("text"), list):
        first = {key: next(iter(value), None) for key, value in answers.items() if isinstance(value, list)}
        row = {names[2]: first["text"], names[3]: first.get("answer_start")}
    return question, context, text(records, line, row, names[2]), optional_text(records, line, row, names[3])


def _row(where: str, names: tuple[str, ...], cells: tuple[str, str, str, str], line: int) -> Question:
    question, context, answer, start = cells
    for name, value in zip(names[:2], (question, context), strict=True):
        if not value.strip():
            raise DataError(f"{where}: {name!r} is empty ({value!r}); fill it in or drop the row")
    if not answer.strip():
        return Question(question, context, "", None, line)
    if start == "":
        found = context.find(answer)
        if found < 0:
            raise DataError(f"{where}: the answer {cut(answer)} does not stand in the context; copy it as it is there")
        return Question(question, context, answer, found, line)
    if not re.fullmatch(r"-?[0-9]{1,18}", start):
        raise DataError(f"{where}: {names[3]!r} must be a whole number, got {cut(start)}")
    if context[int(start) : int(start) + len(answer)] != answer or int(start) < 0:
        stands = context[max(0, int(start)) :][: len(answer)]
        raise DataError(
            f"{where}: {names[3]!r} is {start}, but the context has {cut(stands)} there and the answer is"
            f" {cut(answer)}; count characters from 0, or leave the column out"
        )
    return Question(question, context, answer, int(start), line)
