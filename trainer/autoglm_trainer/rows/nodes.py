"""The nodes of a graph: read, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .cells import Row, optional_text, text, words
from .door import Locate, Records, read_records
from .holding_out import HoldOut
from .splits import Rows, Splits, cut, some

OTHER = "none"
SPLITS = ("train", "validation", "test", OTHER)
_ROLES = ("node", "words", "label", "split")


@dataclass(frozen=True)
class Node:
    """One node and where it stands; `label` is empty where it is not known, `split` where the file says nothing."""

    name: str
    words: tuple[str, ...]
    numbers: tuple[float, ...]
    label: str
    split: str
    line: int

    @property
    def content(self) -> list[JsonValue]:
        """All of it, as read."""
        return [self.name, list(self.words), list(self.numbers), self.label]

    @property
    def unit(self) -> str:
        """Its name: nodes that are known by the same still stand at different places of the graph."""
        return self.name


@dataclass(frozen=True)
class Nodes:
    """A study's nodes.

    Attributes:
        splits: those with a label, by what the label is for.
        every: all nodes; first those of `data.train`, which training sees, then those that only `data.validation` and
            `data.test` have.
        seen: how many of them training sees.
        columns: what each of a node's numbers is.
    """

    splits: Splits[Node]
    every: tuple[Node, ...]
    seen: int
    columns: tuple[str, ...]


def load_nodes(data: Data, locate: Locate, columns: Mapping[str, str], *, seed: int) -> Nodes:
    """Read all sources of nodes and tell what each is for.

    Args:
        data: the study's `data`.
        locate: URI → location.
        columns: role → name, all roles given.
        seed: chooses validation nodes, where the study names a fraction and no node is marked.

    Raises:
        DataError: with the sentence for the user.
    """
    records = read_records(data.train.source, locate)
    reader = Reader.of(records, columns)
    known = some(records, list(reader.read(records)), (columns["node"],))
    by_name = unique(known)
    marked = any(node.split for node in known)
    named: dict[str, Rows[Node]] = {}
    for split, source in (("validation", data.validation.source), ("test", data.test.source if data.test else None)):
        own = tuple(node for node in known if node.split == split)
        if source is not None:
            if own:
                raise DataError(
                    f"{known.where(own[0])}: {columns['split']!r} is {split!r}, but data.{split} names a file for these"
                    " nodes; mark them in one place"
                )
            named[split] = _named(read_records(source, locate), reader, by_name)
        elif own:
            named[split] = Rows(f"{known.source} ({split})", own, known.counted)
    judged = [(split, node) for split, rows in named.items() for node in rows]
    _check_apart(judged, named)
    apart = {node.name for _, node in judged}
    mine = [node for node in known if node.name not in apart and node.label]
    train = Rows(known.source, tuple(n for n in mine if n.split == "train" or not marked), known.counted)
    if "validation" not in named:
        assert data.validation.fraction is not None, "the spec holds exactly one of source and fraction"
        _check_labels(train)
        train, named["validation"] = _HOLD_OUT.split(train, data.validation.fraction, seed=seed)
    splits = Splits(train, named["validation"], named.get("test"))
    _check_labels(splits.train)
    for split, rows in named.items():
        _check_known_labels(rows, split, splits.train)
    fresh = [node for _, node in judged if node.name not in by_name]
    return Nodes(splits, (*known, *fresh), len(known), reader.names)


@dataclass(frozen=True)
class Reader:
    """How a file's rows become nodes.

    Attributes:
        columns: role → name.
        numbers: the columns that play no role: each has a number, or a list of so many.
    """

    columns: Mapping[str, str]
    numbers: Mapping[str, int | None]

    @classmethod
    def of(cls, records: Records, columns: Mapping[str, str]) -> Reader:
        """Read off the first row which columns hold lists.

        Raises:
            DataError: there is nothing that nodes are known by.
        """
        roles = {columns[role] for role in _ROLES}
        free = [column for column in records.columns if column not in roles]
        if not free and columns["words"] not in records.columns:
            raise DataError(
                f"{records.source}: nodes have nothing but names and labels; add a column {columns['words']!r} of what"
                " each has, or columns of numbers"
            )
        first: Row = next((row for _, row in records), {})
        lengths = {column: len(value) if isinstance(value := first.get(column), list) else None for column in free}
        return cls(columns, lengths)

    @property
    def names(self) -> tuple[str, ...]:
        """What each number is."""
        return tuple(
            name
            for column, length in self.numbers.items()
            for name in ([column] if length is None else [f"{column}[{place}]" for place in range(length)])
        )

    def read(self, records: Records) -> Iterator[Node]:
        """Every row as a node.

        Raises:
            DataError: a row has no name, or something else where a number is needed.
        """
        for number, row in records:
            yield self.whole(records, number, row)

    def whole(self, records: Records, number: int, row: Row) -> Node:
        """A row with all that its node is known by."""
        node, column = self.named(records, number, row), self.columns["words"]
        # A node without words may leave them out.
        has = words(records, number, {column: row.get(column)}, column)
        return replace(node, words=tuple(has), numbers=self._numbers(records, number, row))

    def named(self, records: Records, number: int, row: Row) -> Node:
        """A row's name, label and split alone."""
        name = text(records, number, row, self.columns["node"])
        if not name.strip():
            raise DataError(f"{records.where(number)}: {self.columns['node']!r} is empty; every node needs a name")
        split = optional_text(records, number, row, self.columns["split"])
        if split and split not in SPLITS:
            raise DataError(
                f"{records.where(number)}: {self.columns['split']!r} is {cut(split)}, which is none of"
                f" {', '.join(SPLITS)}; correct it, or leave it empty for a node that is only part of the graph"
            )
        label = optional_text(records, number, row, self.columns["label"])
        return Node(name, (), (), label.strip() and label, split, number)

    def _numbers(self, records: Records, number: int, row: Row) -> tuple[float, ...]:
        found: list[float] = []
        for column, length in self.numbers.items():
            where, value = f"{records.where(number)}: {column!r}", row.get(column)
            if length is None:
                found.append(as_number(where, value))
            elif not isinstance(value, list) or len(value) != length:
                has = f"{len(value)} numbers" if isinstance(value, list) else "no list"
                raise DataError(f"{where} has {has}, in the first row it has {length}; give all nodes as many")
            else:
                found += [as_number(f"{where}, number {place},", one) for place, one in enumerate(value, start=1)]
        return tuple(found)


def as_number(where: str, value: JsonValue) -> float:
    """A finite number.

    Raises:
        DataError: `where` holds something else.
    """
    if value is None:
        raise DataError(f"{where} is missing; fill it in")
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{where} is {cut(str(value))}, which is no number; correct it, or leave the column out")
    return found


def unique(rows: Rows[Node]) -> dict[str, Node]:
    """By name.

    Raises:
        DataError: two have one name.
    """
    found: dict[str, Node] = {}
    for node in rows:
        if node.name in found:
            before = rows.where(found[node.name]).removeprefix(f"{rows.source}, ")
            raise DataError(f"{rows.where(node)}: the node {cut(node.name)} stands in {before} already; keep one")
        found[node.name] = node
    return found


def _named(records: Records, reader: Reader, known: Mapping[str, Node]) -> Rows[Node]:
    """The nodes that a file names: known ones by name alone, others with all that they are known by."""
    found = []
    for number, row in records:
        node = reader.named(records, number, row)
        where, old = records.where(number), known.get(node.name)
        if old is None:
            node = reader.whole(records, number, row)
        elif node.label and old.label and node.label != old.label:
            raise DataError(f"{where}: the node {cut(node.name)} is {cut(node.label)} here, {cut(old.label)} elsewhere")
        else:
            node = replace(old, label=node.label or old.label, line=number)
        found.append(node)
    rows = some(records, found, (reader.columns["node"],))
    unique(rows)
    return rows


def _check_apart(judged: Sequence[tuple[str, Node]], named: Mapping[str, Rows[Node]]) -> None:
    seen: dict[str, str] = {}
    for split, node in judged:
        if not node.label:
            raise DataError(f"{named[split].where(node)}: the {split} node {cut(node.name)} has no label; give it one")
        if node.name in seen:
            raise DataError(
                f"{named[split].where(node)}: the node {cut(node.name)} is a {seen[node.name]} node already; keep one"
            )
        seen[node.name] = split


_HOLD_OUT = HoldOut[Node](stratum=lambda node: node.label, single="every label has a single node")


def _check_labels(train: Rows[Node]) -> None:
    labels = {node.label for node in train}
    if len(labels) < 2:
        told = (
            f"all {len(train)} training nodes have the label {cut(min(labels))}" if labels else "no node to learn from"
        )
        raise DataError(f"{train.source}: {told}; a classifier needs at least two labels")


def _check_known_labels(rows: Rows[Node], split: str, train: Rows[Node]) -> None:
    known = {node.label for node in train}
    odd = next((node for node in rows if node.label not in known), None)
    if odd is not None:
        raise DataError(
            f"{rows.where(odd)}: the label {cut(odd.label)} stands in the {split} nodes only, no training node has it;"
            " add training nodes for it or drop these"
        )
