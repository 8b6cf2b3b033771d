"""What a frozen backbone says of the texts, computed once a process: tokens, pooled features, and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .classifier import POOLINGS, collate, encode, pool
from .data import Rows
from .errors import DataError
from .models import BaseModel

# Rows a forward pass without gradients.
INFERENCE_BATCH = 32

Tokens = tuple[tuple[int, ...], ...]


@dataclass
class Corpus:
    """The texts of each split as tokens and features, cached by what they depend on.

    A `max_length` beyond the longest text changes nothing, so it is cut to it before anything is looked up.
    """

    base: BaseModel
    splits: Mapping[str, Rows]
    _tokens: dict[tuple[str, int], Tokens] = field(default_factory=dict)
    _features: dict[tuple[str, int], dict[str, Tensor]] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse texts of which the tokenizer keeps nothing.

        Raises:
            DataError: naming source, line and text.
        """
        for split, rows in self.splits.items():
            for row, ids in zip(rows.rows, self.tokens(split, self.base.max_tokens), strict=True):
                if not ids:
                    raise DataError(
                        f"{rows.source}, line {row.line}: the model's tokenizer keeps nothing of {row.text[:80]!r};"
                        " drop the row, or use a model that knows its script"
                    )

    def tokens(self, split: str, max_length: int) -> Tokens:
        """Token ids of each text, truncated as the server will truncate."""
        whole = self._encode(split, self.base.max_tokens)
        return whole if max_length >= max(map(len, whole)) else self._encode(split, max_length)

    def _encode(self, split: str, max_length: int) -> Tokens:
        key = (split, max_length)
        if key not in self._tokens:
            encodings = self.base.tokenizer_for(max_length).encode_batch(list(self.splits[split].texts))
            self._tokens[key] = tuple(tuple(encoding.ids) for encoding in encodings)
        return self._tokens[key]

    def features(self, split: str, *, max_length: int, pooling: str, heartbeat: Callable[[], None]) -> Tensor:
        """Features (texts, hidden) under the clean backbone, float32 on the CPU; one pass serves every pooling."""
        tokens = self.tokens(split, max_length)
        key = (split, max(map(len, tokens)))
        if key not in self._features:
            self._features[key] = self._pass(tokens, heartbeat)
        return self._features[key][pooling]

    def _pass(self, tokens: Tokens, heartbeat: Callable[[], None]) -> dict[str, Tensor]:
        backbone = self.base.clean()
        pooled = {name: torch.empty(len(tokens), self.base.hidden_size) for name in POOLINGS}
        with torch.no_grad():
            for rows in by_length(tokens, INFERENCE_BATCH):
                batch = collate([tokens[row] for row in rows], pad_id=self.base.pad_id, device=self.base.device)
                hidden = encode(backbone, batch.input_ids, batch.attention_mask)
                for name, target in pooled.items():
                    target[rows] = pool(hidden, batch.attention_mask, name).cpu()
                heartbeat()
        return pooled


def by_length(tokens: Tokens, size: int) -> list[list[int]]:
    """Row numbers in batches of texts of like length."""
    order = sorted(range(len(tokens)), key=lambda row: (len(tokens[row]), row))
    return [order[start : start + size] for start in range(0, len(order), size)]
