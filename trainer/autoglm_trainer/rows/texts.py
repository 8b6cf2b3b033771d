"""Labelled texts: read, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from autoglm_api.catalog.text_classification import TEXT_CLASSIFICATION
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .cells import text_or_list
from .cleaning import Cleanable
from .holding_out import HoldOut
from .reading import read_splits
from .records import Locate, Records
from .splits import Rows, Splits, cut, some


@dataclass(frozen=True)
class LabelledText:
    """One labelled text and where it stands. Without `several` labels allowed it has exactly one."""

    text: str
    labels: tuple[str, ...]
    line: int
    several: bool = False

    @property
    def content(self) -> JsonValue:
        """Text and labels as read."""
        return [self.text, list(self.labels) if self.several else self.labels[0]]

    @property
    def unit(self) -> str:
        """The text."""
        return self.text


# Combinations of labels are many and rare; rows that may have several are drawn without regard to them.
_HOLD_OUT = HoldOut[LabelledText](
    stratum=lambda row: "" if row.several else row.labels[0],
    single="every label has a single text",
)


@dataclass(frozen=True)
class LabelledTexts:
    """A study's rows. `labels` are sorted; a label's place in it is the model's output index.

    Attributes:
        several: whether a row may have any number of labels, none too; otherwise each has one.
    """

    splits: Splits[LabelledText]
    labels: tuple[str, ...]
    several: bool = False

    def targets(self, rows: Rows[LabelledText]) -> list[int]:
        """Label indices of `rows`, in order; for rows of one label each."""
        index = {label: place for place, label in enumerate(self.labels)}
        return [index[row.labels[0]] for row in rows]

    def indicators(self, rows: Rows[LabelledText]) -> list[tuple[int, ...]]:
        """For each row 1 where it has the label and 0 where not, (rows, labels)."""
        return [tuple(int(label in row.labels) for label in self.labels) for row in rows]


def load_texts(data: Data, locate: Locate, *, seed: int) -> LabelledTexts:
    """Read all sources, hold out validation rows if asked to, and check that they fit each other.

    Args:
        data: the study's `data`.
        locate: URI → location.
        seed: chooses the held-out rows.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = TEXT_CLASSIFICATION.named_columns(data.columns)
    splits = read_splits(
        data,
        locate,
        lambda records: read_texts(records, columns),
        hold_out=lambda _: _HOLD_OUT,
        seed=seed,
        cleanable=cleanable(columns),
    )
    several = any(row.several for row in splits.train)
    labels = tuple(sorted({label for row in splits.train for label in row.labels}))
    _check_kind(splits.train, several=several)
    _check_training_labels(splits.train, labels, several=several)
    for split, rows in splits.by_name.items():
        _check_labels(rows, split, data.train.source, labels, several=several)
    return LabelledTexts(splits, labels, several=several)


def cleanable(columns: Mapping[str, str]) -> Cleanable:
    """What cleaning may do to training rows. `columns`: role → name."""
    return Cleanable((columns["text"], columns["label"]), rewritten=(columns["text"],))


def read_texts(records: Records, columns: Mapping[str, str]) -> Rows[LabelledText]:
    """The rows of one source; texts and labels are kept exactly as written. `columns`: role → name, both roles given.

    Raises:
        DataError: they cannot be read, or none is there.
    """
    names = text_column, label_column = columns["text"], columns["label"]
    rows = []
    for line, row in records:
        where = records.where(line)
        text, label = (text_or_list(records, line, row, name) for name in names)
        if isinstance(text, list):
            raise DataError(f"{where}: {text_column!r} is a list; write it as a string")
        labels = label if isinstance(label, list) else [label]
        for column, value in ((text_column, text), *((label_column, one) for one in labels)):
            if not value.strip():
                raise DataError(f"{where}: {column!r} is empty ({value!r}); fill it in or drop the row")
        rows.append(LabelledText(text, tuple(dict.fromkeys(labels)), line, several=isinstance(label, list)))
    return some(records, rows, names)


def _check_training_labels(rows: Rows[LabelledText], labels: Sequence[str], *, several: bool) -> None:
    if len(labels) < (1 if several else 2):
        told = f"all {len(rows)} training rows have the label {labels[0]!r}" if labels else "no row has a label"
        raise DataError(f"{rows.source}: {told}; a classifier needs at least two labels")


def _check_labels(
    rows: Rows[LabelledText], split: str, train_source: str, labels: Sequence[str], *, several: bool
) -> None:
    _check_kind(rows, several=several)
    known = set(labels)
    unknown = Counter(label for row in rows for label in row.labels if label not in known)
    if unknown:
        first, label = next((row, label) for row in rows for label in row.labels if label in unknown)
        raise DataError(
            f"{rows.where(first)}: the label {cut(label)} stands in the {split} rows only"
            f"{_others(unknown, label)}, never in {train_source}; add training rows for it or drop these rows"
        )


def _check_kind(rows: Rows[LabelledText], *, several: bool) -> None:
    odd = next((row for row in rows if row.several != several), None)
    if odd is not None:
        is_, others = ("a list", "single labels") if odd.several else ("a single label", "lists")
        raise DataError(
            f"{rows.where(odd)}: the label is {is_}, the training rows have {others};"
            " write all as lists where a text may have several labels"
        )


def _others(unknown: Iterable[str], first: str) -> str:
    others = sorted(label for label in unknown if label != first)
    return f" (so do {', '.join(map(cut, others[:5]))})" if others else ""
