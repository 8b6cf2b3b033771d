"""`p-tuning`: virtual tokens that pass a small network while they are trained, which ties them together."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.prompted import Guided, Prompt, Prompted
from autoglm_trainer.tuning.settings import Settings

from .soft import SoftPrompt, first_rows


class PTuning(SoftPrompt):
    """Virtual tokens, their encoder and the output layer are trained; only the encoder's answer is exported."""

    name = "p-tuning"
    guided = Prompted

    @override
    def guide(self, base: BaseModel, settings: Settings) -> Guided:
        length, size = int(settings.point["prompt_length"]), int(settings.point["prompt_encoder_size"])
        rows = first_rows(base, settings, length)
        prompt = EncodedPrompt(rows, size, recurrent=settings.point["prompt_encoder"] == "lstm")
        return Prompted(base.backbone, prompt, length)


class EncodedPrompt(Prompt):
    """Rows plus what an encoder makes of them, nothing at first: training begins at the model's own embeddings."""

    def __init__(self, rows: Tensor, size: int, *, recurrent: bool) -> None:
        super().__init__(rows)
        hidden = rows.shape[1]
        self.lstm = nn.LSTM(hidden, size, bidirectional=True) if recurrent else None
        self.inner = nn.Linear(2 * size if recurrent else hidden, size)
        self.outer = nn.Linear(size, hidden)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    @override
    def forward(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        return self._encoded()

    def _encoded(self) -> Tensor:
        mixed = self.rows if self.lstm is None else self.lstm(self.rows)[0]
        added: Tensor = self.outer(nn.functional.gelu(self.inner(mixed)))
        return self.rows + added

    @override
    def folded(self) -> Prompt:
        return Prompt(self._encoded().detach())
