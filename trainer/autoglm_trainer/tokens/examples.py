"""Rows as a network sees them: token ids, where it shall answer, and what the right answer is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Examples a forward pass without gradients.
INFERENCE_BATCH = 32

Tokens = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Examples:
    """The examples of one split, or some of them.

    Attributes:
        key: tells sets of examples apart, so that what is computed from them can be kept.
        tokens: token ids, special ones included.
        items: the row that each example is of; several windows of a long text are examples of one row.
        targets: the right answers, in the task's own numbers.
        positions: the places among the tokens that are answered; None = one answer for the whole.
    """

    key: tuple[Hashable, ...]
    tokens: Tokens
    items: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]
    positions: Tokens | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def sizes(self) -> list[int]:
        """Answers of each example."""
        return [1] * len(self) if self.positions is None else list(map(len, self.positions))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return list(map(len, self.tokens))

    def take(self, chosen: Sequence[int]) -> Examples:
        """Some of them, in the order of `chosen`."""
        return Examples(
            key=(*self.key, "some", *chosen),
            tokens=tuple(self.tokens[index] for index in chosen),
            items=tuple(self.items[index] for index in chosen),
            targets=tuple(self.targets[index] for index in chosen),
            positions=None if self.positions is None else tuple(self.positions[index] for index in chosen),
        )

    def joined(self, more: Examples) -> Examples:
        """These, then `more` of other rows, whose items are counted on."""
        assert (self.positions is None) == (more.positions is None), "examples of one task are answered alike"
        rows = max(self.items, default=-1) + 1
        return Examples(
            key=("joined", *self.key, *more.key),
            tokens=(*self.tokens, *more.tokens),
            items=(*self.items, *(rows + item for item in more.items)),
            targets=(*self.targets, *more.targets),
            positions=None if self.positions is None else (*self.positions, *(more.positions or ())),
        )

    def of(self, items: Sequence[int]) -> list[int]:
        """The examples of some rows."""
        wanted = set(items)
        return [index for index, item in enumerate(self.items) if item in wanted]


@dataclass(frozen=True)
class Batch:
    """Padded token ids and their mask, (batch, tokens) each, int64, and which tokens are answered.

    Attributes:
        rows: the example of each answered token, (answers,); None = one answer for each example.
        places: the token's place in it, (answers,).
    """

    input_ids: Tensor
    attention_mask: Tensor
    rows: Tensor | None = None
    places: Tensor | None = None

    def answers(self, logits: Tensor) -> Tensor:
        """Logits (batch, outputs) or (batch, tokens, outputs) to those that count, (answers, outputs)."""
        return logits if self.rows is None else logits[self.rows, self.places]


def collate(examples: Examples, *, pad_id: int, device: torch.device) -> Batch:
    """Pad to the longest example, on the right."""
    longest = max(map(len, examples.tokens))
    input_ids = torch.full((len(examples), longest), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros((len(examples), longest), dtype=torch.int64)
    for row, ids in enumerate(examples.tokens):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        attention_mask[row, : len(ids)] = 1
    if examples.positions is None:
        return Batch(input_ids.to(device), attention_mask.to(device))
    rows = torch.repeat_interleave(torch.arange(len(examples)), torch.tensor(examples.sizes))
    places = torch.tensor([place for places in examples.positions for place in places], dtype=torch.int64)
    return Batch(input_ids.to(device), attention_mask.to(device), rows.to(device), places.to(device))


def by_length(tokens: Tokens, size: int) -> list[list[int]]:
    """Example numbers in batches of like length."""
    order = sorted(range(len(tokens)), key=lambda row: (len(tokens[row]), row))
    return [order[start : start + size] for start in range(0, len(order), size)]
