"""The rows of token classification: sentences whose words carry BIO tags, read, checked and split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from autoglm_api.bio import OUTSIDE
from autoglm_api.catalog.token_classification import TOKEN_CLASSIFICATION
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .cells import words as words_of
from .cleaning import Cleanable
from .conll import column_number
from .holding_out import HoldOut
from .reading import read_splits
from .records import Locate, Records
from .splits import Rows, Splits, some

_TAG = re.compile(r"[BI]-\S.*")
_OTHER_SCHEME = re.compile(r"[SELUM]-\S.*")


@dataclass(frozen=True)
class Sentence:
    """Words, a tag for each, and the line where they begin."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    line: int

    @property
    def types(self) -> set[str]:
        """Of its entities."""
        return {tag[2:] for tag in self.tags if tag != OUTSIDE}

    @property
    def content(self) -> JsonValue:
        """Words and tags as read."""
        return [list(self.words), list(self.tags)]

    @property
    def unit(self) -> tuple[str, ...]:
        """The words."""
        return self.words


@dataclass(frozen=True)
class TaggedSentences:
    """A study's sentences. `labels`: O, then B- and I- of each type, sorted; the place is the model's output index."""

    splits: Splits[Sentence]
    labels: tuple[str, ...]


def load_tagged(data: Data, locate: Locate, *, seed: int) -> TaggedSentences:
    """Read all sources, hold out validation sentences if asked to, and check that they fit each other.

    Args:
        data: the study's `data`.
        locate: URI → location.
        seed: chooses the held-out sentences.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = TOKEN_CLASSIFICATION.named_columns(data.columns)
    splits = read_splits(
        data,
        locate,
        lambda records: read_tagged(records, columns),
        hold_out=_by_rarest_type,
        seed=seed,
        cleanable=cleanable(columns),
    )
    types = sorted(set[str]().union(*(row.types for row in splits.train)))
    if not types:
        raise DataError(
            f"{data.train.source}: all words of all {len(splits.train)} training sentences are O; tag some entities"
        )
    for split, rows in splits.by_name.items():
        _check_types(rows, split, data.train.source, types)
    return TaggedSentences(splits, (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")))


def _by_rarest_type(rows: Rows[Sentence]) -> HoldOut[Sentence]:
    """A sentence is drawn with its rarest entity type, so that each type stands on both sides."""
    counts = Counter(kind for row in rows for kind in row.types)
    return HoldOut(
        stratum=lambda row: min(row.types, key=lambda kind: (counts[kind], kind), default=OUTSIDE),
        single="every entity type has a single sentence",
    )


def cleanable(columns: Mapping[str, str]) -> Cleanable:
    """What cleaning may do to training rows. `columns`: role → name."""
    return Cleanable((columns["tokens"], columns["tags"]))


def read_tagged(records: Records, columns: Mapping[str, str]) -> Rows[Sentence]:
    """The rows of one source; words and tags are kept exactly as written. `columns`: role → name, both roles given.

    Raises:
        DataError: they cannot be read, or none is there.
    """
    names = (columns["tokens"], columns["tags"])
    of_words, of_tags = _columns(records, names)
    rows = []
    for line, row in records:
        where = records.where(line)
        words, tags = words_of(records, line, row, of_words), words_of(records, line, row, of_tags)
        _check_words(where, words, tags, names)
        check_bio(where, words, tags)
        rows.append(Sentence(tuple(words), tuple(tags), line))
    return some(records, rows, names)


def _columns(records: Records, names: tuple[str, str]) -> tuple[str, str]:
    if records.format != "CoNLL":
        return names
    where = records.source
    return (
        column_number(where, names[0], records.columns, last=False),
        column_number(where, names[1], records.columns, last=True),
    )


def _check_words(where: str, words: Sequence[str], tags: Sequence[str], names: tuple[str, str]) -> None:
    if not words:
        raise DataError(f"{where}: {names[0]!r} is empty; fill it in or drop the row")
    if len(words) != len(tags):
        raise DataError(f"{where}: {len(words)} words in {names[0]!r}, {len(tags)} tags in {names[1]!r}; tag each word")
    for place, word in enumerate(words, start=1):
        if not word.strip():
            raise DataError(f"{where}, word {place}: the word is empty ({word!r}); drop it and its tag")


def check_bio(where: str, words: Sequence[str], tags: Sequence[str]) -> None:
    """Refuse tags that are no BIO.

    Raises:
        DataError: naming `where`, the word, the tag, and what to do.
    """
    before = OUTSIDE
    for place, (word, tag) in enumerate(zip(words, tags, strict=True), start=1):
        at = f"{where}, word {place} ({word[:40]!r}): the tag {tag[:60]!r}"
        if tag != OUTSIDE and not _TAG.fullmatch(tag):
            raise DataError(f"{at} {_remedy(tag)}")
        if tag.startswith("I-") and before[2:] != tag[2:]:
            raise DataError(
                f"{at} follows {before!r}, but an entity begins with 'B-{tag[2:]}'; correct it, and if I- begins"
                " entities everywhere (IOB1), convert the file to BIO (IOB2)"
            )
        before = tag


def _remedy(tag: str) -> str:
    if _OTHER_SCHEME.fullmatch(tag):
        return "is of BILOU or BIOES; convert the file to BIO (L- and E- become I-, U- and S- become B-)"
    if tag.isdecimal():
        return "is a number; write the tag's name"
    return "is none of O, B-<type> and I-<type>; correct it"


def _check_types(rows: Rows[Sentence], split: str, train_source: str, types: Sequence[str]) -> None:
    for row in rows:
        unknown = sorted(row.types - set(types))
        if unknown:
            raise DataError(
                f"{rows.where(row)}: the entity type {unknown[0][:60]!r} stands in the {split} rows only,"
                f" never in {train_source}; add training sentences for it or drop this one"
            )
