"""`prompt-tuning`: virtual tokens before every text, trained directly."""

from __future__ import annotations

from typing_extensions import override

from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.prompted import Guided, Prompt, Prompted
from autoglm_trainer.tuning.settings import Settings

from .soft import SoftPrompt, first_rows


class PromptTuning(SoftPrompt):
    """Virtual tokens and output layer are trained."""

    name = "prompt-tuning"
    guided = Prompted

    @override
    def guide(self, base: BaseModel, settings: Settings) -> Guided:
        length = int(settings.point["prompt_length"])
        return Prompted(base.backbone, Prompt(first_rows(base, settings, length)), length)
