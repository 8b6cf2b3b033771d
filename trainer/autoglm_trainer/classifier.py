"""The network that all methods train: a backbone, pooling that ignores padding, one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

POOLINGS = ("mean", "first", "last")


def pool(hidden: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """Hidden states (batch, tokens, hidden) to one vector a text, (batch, hidden), in float32.

    `first` and `last` are the first and last token that is not padding, on whichever side the padding is.
    """
    hidden = hidden.float()
    if pooling == "mean":
        weights = attention_mask.to(hidden.dtype).unsqueeze(-1)  # (batch, tokens, 1)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    order = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
    ranks = order if pooling == "last" else hidden.shape[1] + 1 - order
    place = (attention_mask * ranks).argmax(dim=1)  # (batch,)
    return hidden.gather(1, place[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)


def encode(backbone: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Hidden states (batch, tokens, hidden). Weights of 16 bits on a GPU compute under autocast."""
    halved = input_ids.is_cuda and next(backbone.parameters()).dtype != torch.float32
    with torch.autocast("cuda", torch.bfloat16) if halved else nullcontext():
        hidden: Tensor = backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    return hidden


class Classifier(nn.Module):
    """Token ids to logits."""

    def __init__(self, backbone: nn.Module, hidden_size: int, labels: int, *, pooling: str, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, labels)
        self.pooling = pooling

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens) twice → (batch, hidden)."""
        return pool(encode(self.backbone, input_ids, attention_mask), attention_mask, self.pooling)

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens) twice → logits (batch, labels)."""
        logits: Tensor = self.head(self.dropout(self.pooled(input_ids, attention_mask)))
        return logits

    def trained_weights(self) -> dict[str, Tensor]:
        """Copies of what the method trains, by name: all that `load_trained` needs beyond the base model."""
        return {
            name: parameter.detach().clone() for name, parameter in self.named_parameters() if parameter.requires_grad
        }

    def load_trained(self, weights: dict[str, Tensor]) -> None:
        """Put back what `trained_weights` gave.

        Raises:
            ValueError: the names or shapes are another model's.
        """
        own = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        if own.keys() != weights.keys():
            odd = sorted(own.keys() ^ weights.keys())[:5]
            raise ValueError(f"weights of another model: {odd} are not in both")
        with torch.no_grad():
            for name, parameter in own.items():
                if parameter.shape != weights[name].shape:
                    raise ValueError(f"weights of another model: {name} is {tuple(weights[name].shape)}")
                parameter.copy_(weights[name])


@dataclass(frozen=True)
class Batch:
    """Padded token ids and their mask, (batch, tokens) each, int64."""

    input_ids: Tensor
    attention_mask: Tensor


def collate(tokens: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> Batch:
    """Pad to the longest text, on the right."""
    longest = max(len(ids) for ids in tokens)
    input_ids = torch.full((len(tokens), longest), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros((len(tokens), longest), dtype=torch.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        attention_mask[row, : len(ids)] = 1
    return Batch(input_ids.to(device), attention_mask.to(device))
