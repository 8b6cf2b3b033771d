"""The rows of a study: read, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoglm_api.catalog.text_classification import TEXT_CLASSIFICATION
from autoglm_api.locations import Location
from autoglm_api.manifest import DataDigests
from autoglm_api.study import Data

from .errors import DataError
from .formats import read_cells_or_lists
from .sources import read_bytes

_SHOWN = 80


@dataclass(frozen=True)
class Row:
    """One labelled text and where it stands. Without `several` labels allowed it has exactly one."""

    text: str
    labels: tuple[str, ...]
    line: int
    several: bool = False


@dataclass(frozen=True)
class Rows:
    """The rows of one source, in its order."""

    source: str
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts, in order."""
        return tuple(row.text for row in self.rows)

    @property
    def digest(self) -> str:
        """sha256 of texts and labels as read; CSV and JSON lines with the same rows have the same digest."""
        state = hashlib.sha256()
        for row in self.rows:
            label = list(row.labels) if row.several else row.labels[0]
            state.update(json.dumps([row.text, label], ensure_ascii=False).encode() + b"\n")
        return f"sha256:{state.hexdigest()}"


@dataclass(frozen=True)
class Dataset:
    """A study's rows. `labels` are sorted; a label's place in it is the model's output index.

    Attributes:
        several: whether a row may have any number of labels, none too; otherwise each has one.
    """

    train: Rows
    validation: Rows
    test: Rows | None
    labels: tuple[str, ...]
    several: bool = False

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read and split."""
        return DataDigests(
            train=self.train.digest,
            validation=self.validation.digest,
            test=self.test.digest if self.test else None,
        )

    def targets(self, rows: Rows) -> list[int]:
        """Label indices of `rows`, in order; for rows of one label each."""
        index = {label: place for place, label in enumerate(self.labels)}
        return [index[row.labels[0]] for row in rows.rows]

    def indicators(self, rows: Rows) -> list[tuple[int, ...]]:
        """For each row 1 where it has the label and 0 where not, (rows, labels)."""
        return [tuple(int(label in row.labels) for label in self.labels) for row in rows.rows]


def load_dataset(data: Data, locate: Callable[[str], Location], *, seed: int) -> Dataset:
    """Read all sources, hold out validation rows if asked to, and check that they fit each other.

    Args:
        data: the study's `data`.
        locate: URI → location.
        seed: chooses the held-out rows.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = TEXT_CLASSIFICATION.named_columns(data.columns)
    train = read_rows(data.train.source, locate, columns)
    several = any(row.several for row in train.rows)
    _check_kind(train, several=several)
    if data.validation.source is not None:
        validation = read_rows(data.validation.source, locate, columns)
    else:
        assert data.validation.fraction is not None, "the spec holds exactly one of source and fraction"
        train, validation = hold_out(train, data.validation.fraction, seed=seed)
    test = read_rows(data.test.source, locate, columns) if data.test else None
    labels = tuple(sorted({label for row in train.rows for label in row.labels}))
    _check_training_labels(train, labels, several=several)
    for rows, split in ((validation, "validation"), (test, "test")):
        if rows is not None:
            _check_labels(rows, split, train.source, labels, several=several)
    return Dataset(train=train, validation=validation, test=test, labels=labels, several=several)


def read_rows(source: str, locate: Callable[[str], Location], columns: Mapping[str, str]) -> Rows:
    """Read one source; texts and labels are kept exactly as written. `columns`: role → name, both roles given.

    Raises:
        DataError: it cannot be had, read, or holds no usable rows.
    """
    text_column, label_column = columns["text"], columns["label"]
    content = read_bytes(source, _locate(source, locate), DataError)
    if not content.strip():
        raise DataError(f"{source}: the file is empty; it needs rows with {text_column!r} and {label_column!r}")
    rows = []
    for line, (text, label) in read_cells_or_lists(source, content, (text_column, label_column)):
        where = f"{source}, line {line}"
        if isinstance(text, list):
            raise DataError(f"{where}: {text_column!r} is a list; write it as a string")
        labels = label if isinstance(label, list) else [label]
        for column, value in ((text_column, text), *((label_column, one) for one in labels)):
            if not value.strip():
                raise DataError(f"{where}: {column!r} is empty ({value!r}); fill it in or drop the row")
        rows.append(Row(text, tuple(dict.fromkeys(labels)), line, several=isinstance(label, list)))
    if not rows:
        raise DataError(f"{source}: no rows; it needs at least one with {text_column!r} and {label_column!r}")
    return Rows(source, tuple(rows))


def _locate(source: str, locate: Callable[[str], Location]) -> Location:
    try:
        return locate(source)
    except ValueError as error:
        raise DataError(f"data: {error}") from error


def hold_out(rows: Rows, fraction: float, *, seed: int) -> tuple[Rows, Rows]:
    """Split `rows` label by label into training and validation rows, each in the order of the source.

    Rows with equal texts stay on one side, so nothing is validated on a text that was trained on. A label
    with a single text stays in the training rows.

    Raises:
        DataError: nothing can be held out.
    """
    several = any(row.several for row in rows.rows)
    label_of: dict[str, str] = {}
    for row in rows.rows:
        # Combinations of labels are many and rare; rows that may have several are drawn without regard to them.
        label_of.setdefault(row.text, "" if several else row.labels[0])
    texts: dict[str, list[str]] = defaultdict(list)
    for text, label in label_of.items():
        texts[label].append(text)
    chosen: set[str] = set()
    for label, candidates in texts.items():
        # A label's own generator: rows added to one label do not move those of another.
        random.Random(f"{seed}/{label}").shuffle(candidates)
        count = min(max(1, round(len(candidates) * fraction)), len(candidates) - 1)
        chosen.update(candidates[:count])
    if not chosen:
        raise DataError(
            f"{rows.source}: no rows can be held out for validation, every label has a single text;"
            " add rows or name a validation source"
        )
    train = tuple(row for row in rows.rows if row.text not in chosen)
    validation = tuple(row for row in rows.rows if row.text in chosen)
    return Rows(rows.source, train), Rows(f"{rows.source} (held out)", validation)


def _check_training_labels(rows: Rows, labels: Sequence[str], *, several: bool) -> None:
    if len(labels) < (1 if several else 2):
        told = f"all {len(rows)} training rows have the label {labels[0]!r}" if labels else "no row has a label"
        raise DataError(f"{rows.source}: {told}; a classifier needs at least two labels")


def _check_labels(rows: Rows, split: str, train_source: str, labels: Sequence[str], *, several: bool) -> None:
    _check_kind(rows, several=several)
    known = set(labels)
    unknown = Counter(label for row in rows.rows for label in row.labels if label not in known)
    if unknown:
        first, label = next((row, label) for row in rows.rows for label in row.labels if label in unknown)
        raise DataError(
            f"{rows.source}, line {first.line}: the label {_cut(label)} stands in the {split} rows only"
            f"{_others(unknown, label)}, never in {train_source}; add training rows for it or drop these rows"
        )


def _check_kind(rows: Rows, *, several: bool) -> None:
    odd = next((row for row in rows.rows if row.several != several), None)
    if odd is not None:
        is_, others = ("a list", "single labels") if odd.several else ("a single label", "lists")
        raise DataError(
            f"{rows.source}, line {odd.line}: the label is {is_}, the training rows have {others};"
            " write all as lists where a text may have several labels"
        )


def _others(unknown: Iterable[str], first: str) -> str:
    others = sorted(label for label in unknown if label != first)
    return f" (so do {', '.join(map(_cut, others[:5]))})" if others else ""


def _cut(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
