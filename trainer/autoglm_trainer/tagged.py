"""The rows of token classification: sentences whose words carry BIO tags, read, checked and split."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autoglm_api.bio import OUTSIDE
from autoglm_api.catalog.token_classification import TOKEN_CLASSIFICATION
from autoglm_api.locations import Location
from autoglm_api.manifest import DataDigests
from autoglm_api.study import Data

from .data import Row, Rows, hold_out
from .errors import DataError
from .formats import read_lists
from .sources import read_bytes

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


@dataclass(frozen=True)
class Sentences:
    """The sentences of one source, in its order."""

    source: str
    rows: tuple[Sentence, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """sha256 of words and tags as read, whatever the format."""
        state = hashlib.sha256()
        for row in self.rows:
            state.update(json.dumps([row.words, row.tags], ensure_ascii=False).encode() + b"\n")
        return f"sha256:{state.hexdigest()}"


@dataclass(frozen=True)
class TaggedData:
    """A study's sentences. `labels`: O, then B- and I- of each type, sorted; the place is the model's output index."""

    train: Sentences
    validation: Sentences
    test: Sentences | None
    labels: tuple[str, ...]

    @property
    def splits(self) -> dict[str, Sentences]:
        """Those that there are."""
        splits = {"train": self.train, "validation": self.validation}
        return {**splits, "test": self.test} if self.test else splits

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read and split."""
        return DataDigests(**{split: rows.digest for split, rows in self.splits.items()})


def load_tagged(data: Data, locate: Callable[[str], Location], *, seed: int) -> TaggedData:
    """Read all sources, hold out validation sentences if asked to, and check that they fit each other.

    Args:
        data: the study's `data`.
        locate: URI → location.
        seed: chooses the held-out sentences.

    Raises:
        DataError: with the sentence for the user.
    """
    columns = TOKEN_CLASSIFICATION.named_columns(data.columns)
    train = read_sentences(data.train.source, locate, columns)
    if data.validation.source is not None:
        validation = read_sentences(data.validation.source, locate, columns)
    else:
        assert data.validation.fraction is not None, "the spec holds exactly one of source and fraction"
        train, validation = _hold_out(train, data.validation.fraction, seed=seed)
    test = read_sentences(data.test.source, locate, columns) if data.test else None
    types = sorted(set[str]().union(*(row.types for row in train.rows)))
    if not types:
        raise DataError(f"{train.source}: all words of all {len(train)} training sentences are O; tag some entities")
    for rows, split in ((validation, "validation"), (test, "test")):
        if rows is not None:
            _check_types(rows, split, train.source, types)
    return TaggedData(train, validation, test, (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")))


def read_sentences(source: str, locate: Callable[[str], Location], columns: Mapping[str, str]) -> Sentences:
    """Read one source; words and tags are kept exactly as written. `columns`: role → name, both roles given.

    Raises:
        DataError: it cannot be had, read, or holds no usable sentences.
    """
    names = (columns["tokens"], columns["tags"])
    try:
        content = read_bytes(source, locate(source), DataError)
    except ValueError as error:
        raise DataError(f"data: {error}") from error
    rows = []
    for line, (words, tags) in read_lists(source, content, names):
        where = f"{source}, line {line}"
        _check_words(where, words, tags, names)
        check_bio(where, words, tags)
        rows.append(Sentence(tuple(words), tuple(tags), line))
    if not rows:
        raise DataError(f"{source}: no sentences; it needs at least one with {names[0]!r} and {names[1]!r}")
    return Sentences(source, tuple(rows))


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


def _hold_out(rows: Sentences, fraction: float, *, seed: int) -> tuple[Sentences, Sentences]:
    """As `data.hold_out`; a sentence goes with its rarest entity type, so that each type stands on both sides."""
    counts = Counter(kind for row in rows.rows for kind in row.types)
    keys = [json.dumps(row.words) for row in rows.rows]
    kinds = [min(row.types, key=lambda kind: (counts[kind], kind), default=OUTSIDE) for row in rows.rows]
    stand_ins = (Row(key, (kind,), row.line) for key, kind, row in zip(keys, kinds, rows.rows, strict=True))
    _, held_out = hold_out(Rows(rows.source, tuple(stand_ins)), fraction, seed=seed)
    chosen = {row.text for row in held_out.rows}
    train = tuple(row for row, key in zip(rows.rows, keys, strict=True) if key not in chosen)
    validation = tuple(row for row, key in zip(rows.rows, keys, strict=True) if key in chosen)
    return Sentences(rows.source, train), Sentences(held_out.source, validation)


def _check_types(rows: Sentences, split: str, train_source: str, types: Sequence[str]) -> None:
    for row in rows.rows:
        unknown = sorted(row.types - set(types))
        if unknown:
            raise DataError(
                f"{rows.source}, line {row.line}: the entity type {unknown[0][:60]!r} stands in the {split} rows only,"
                f" never in {train_source}; add training sentences for it or drop this one"
            )
