"""`prompt-fusion`: several soft prompts, mixed for each text by a learned attention on what the text holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.prompted import Guided, Prompt, Prompted
from autoglm_trainer.tuning.settings import Settings

from .soft import SoftPrompt, first_rows

_ATTENTION = 64


class PromptFusion(SoftPrompt):
    """The prompts, their attention and the output layer are trained."""

    name = "prompt-fusion"
    guided = Prompted

    @override
    def guide(self, base: BaseModel, settings: Settings) -> Guided:
        length, count = int(settings.point["prompt_length"]), int(settings.point["fused_prompts"])
        rows = torch.cat([first_rows(base, settings, length) for _ in range(count)])
        return Prompted(base.backbone, FusedPrompt(rows.view(count, length, -1)), length)


class FusedPrompt(Prompt):
    """Prompts (count, length, hidden), weighed by how their keys meet the mean of a text's embeddings."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__(rows)
        self.query = nn.Linear(rows.shape[2], _ATTENTION)
        self.keys = nn.Parameter(torch.randn(rows.shape[0], _ATTENTION))

    @override
    def forward(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        return torch.einsum("bc,clh->blh", self.attention(embedded, attention_mask), self.rows)

    def attention(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        """How much each prompt counts for each text, (batch, count), rows of sum 1; padding has no part in it."""
        real = attention_mask.unsqueeze(-1).float()  # (batch, tokens, 1)
        mean = (embedded.float() * real).sum(1) / real.sum(1).clamp(min=1.0)
        centred = nn.functional.layer_norm(mean, mean.shape[1:])
        scores: Tensor = self.query(centred) @ self.keys.T / _ATTENTION**0.5
        return scores.softmax(-1)
