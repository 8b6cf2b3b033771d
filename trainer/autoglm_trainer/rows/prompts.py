"""The rows of text generation: read, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from autoglm_api.catalog.text_generation import TEXT_GENERATION
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .cells import text
from .cleaning import Cleanable
from .holding_out import HoldOut
from .reading import read_splits
from .records import Locate, Records
from .splits import Rows, Splits, cut, some


@dataclass(frozen=True)
class Answered:
    """A prompt and its answer, without white space at their ends."""

    prompt: str
    answer: str
    line: int

    @property
    def content(self) -> JsonValue:
        """The row as read."""
        return [self.prompt, self.answer]

    @property
    def unit(self) -> str:
        """The prompt."""
        return self.prompt


_HOLD_OUT = HoldOut[Answered](stratum=lambda _: "", single="all have one prompt")


def load_prompts(data: Data, locate: Locate, *, seed: int) -> Splits[Answered]:
    """Read all sources, hold out validation rows if asked to.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = TEXT_GENERATION.named_columns(data.columns)
    return read_splits(
        data,
        locate,
        lambda records: read_prompts(records, columns),
        hold_out=lambda _: _HOLD_OUT,
        seed=seed,
        cleanable=cleanable(columns),
    )


def cleanable(columns: Mapping[str, str]) -> Cleanable:
    """What cleaning may do to training rows. `columns`: role → name."""
    return Cleanable((columns["prompt"], columns["answer"]), rewritten=(columns["prompt"], columns["answer"]))


def read_prompts(records: Records, columns: Mapping[str, str]) -> Rows[Answered]:
    """The rows of one source.

    Raises:
        DataError: they cannot be read, or none is there.
    """
    names = (columns["prompt"], columns["answer"])
    rows = []
    for line, row in records:
        cells = [text(records, line, row, name) for name in names]
        for name, value in zip(names, cells, strict=True):
            if not value.strip():
                raise DataError(f"{records.where(line)}: {name!r} is empty ({cut(value)}); fill it in or drop the row")
        rows.append(Answered(cells[0].strip(), cells[1].strip(), line))
    return some(records, rows, names)
