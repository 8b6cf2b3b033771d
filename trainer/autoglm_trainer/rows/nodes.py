"""The nodes of a graph, checked and split. Every refusal names source, line, value and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .door import read_records
from .holding_out import HoldOut
from .node import Node, Reader
from .records import Locate, Records
from .splits import Rows, Splits, cut, some


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
    reader = Reader.of(records, columns, data)
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
            named[split] = replace(known, source=f"{known.source} ({split})", rows=own)
    judged = [(split, node) for split, rows in named.items() for node in rows]
    _check_apart(judged, named)
    apart = {node.name for _, node in judged}
    mine = [node for node in known if node.name not in apart and node.label]
    train = replace(known, rows=tuple(n for n in mine if n.split == "train" or not marked))
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


def unique(rows: Rows[Node]) -> dict[str, Node]:
    """By name.

    Raises:
        DataError: two have one name.
    """
    found: dict[str, Node] = {}
    for node in rows:
        if node.name in found:
            before = rows.numbering.short(found[node.name].line)
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
