"""`prefix`: learned keys and values before those of every text, in each layer."""

from __future__ import annotations

from typing_extensions import override

from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.prompted import Guided, Prefixed
from autoglm_trainer.tuning.settings import Settings

from .soft import SoftPrompt, first_ids


class Prefix(SoftPrompt):
    """Keys, values and output layer are trained."""

    name = "prefix"
    guided = Prefixed

    @override
    def guide(self, base: BaseModel, settings: Settings) -> Guided:
        return Prefixed.of(base.backbone, first_ids(base, settings, int(settings.point["prompt_length"])))
