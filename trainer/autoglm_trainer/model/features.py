"""What a frozen backbone says of the examples, computed once a process and kept for every later trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autoglm_trainer.tokens.examples import INFERENCE_BATCH, Batch, Examples, by_length, collate

from .base import BaseModel
from .network import POOLINGS, encode, pool

_TOKENS = "tokens"


@dataclass
class Features:
    """Features under the clean backbone, float32 on the CPU.

    Of whole texts all that were ever asked for are kept; of single tokens, which are many, one set a split.
    """

    base: BaseModel
    _kept: dict[tuple[object, ...], dict[str, Tensor]] = field(default_factory=dict)

    def of(self, examples: Examples, pooling: str | None, heartbeat: Callable[[], None]) -> Tensor:
        """(examples, hidden) with `pooling`; without, (answered tokens of all examples, hidden)."""
        if examples.key not in self._kept:
            if examples.positions is not None:
                self._kept = {key: kept for key, kept in self._kept.items() if key[0] != examples.key[0]}
            self._kept[examples.key] = self._pass(examples, heartbeat)
        return self._kept[examples.key][pooling or _TOKENS]

    def _pass(self, examples: Examples, heartbeat: Callable[[], None]) -> dict[str, Tensor]:
        backbone, names = self.base.clean(), (_TOKENS,) if examples.positions is not None else POOLINGS
        sizes = torch.tensor(examples.sizes)
        starts = sizes.cumsum(0) - sizes
        found = {name: torch.empty(int(sizes.sum()), self.base.hidden_size) for name in names}
        with torch.no_grad():
            for rows in by_length(examples.tokens, INFERENCE_BATCH):
                some = examples.take(rows)
                batch = collate(some, pad_id=self.base.pad_id, device=self.base.device)
                hidden = encode(backbone, batch.input_ids, batch.attention_mask)
                places = torch.cat([torch.arange(int(sizes[row])) + starts[row] for row in rows])
                for name, target in found.items():
                    target[places] = _features(hidden, batch, name).cpu()
                heartbeat()
        return found


def _features(hidden: Tensor, batch: Batch, name: str) -> Tensor:
    return batch.answers(hidden).float() if name == _TOKENS else pool(hidden, batch.attention_mask, name)
