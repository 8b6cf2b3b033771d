"""What the methods of virtual tokens have in common: how they begin, and that nothing but them is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoglm_trainer.errors import SpecError
from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.prompted import Guided
from autoglm_trainer.tuning.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class SoftPrompt:
    """Something learned before every text; the backbone stays as it is, so there is nothing to undo after a trial."""

    frozen_backbone = False
    name: str
    guided: type[Guided]

    def footprint(self, base: BaseModel, settings: Settings) -> Footprint:
        """Few numbers, but longer texts."""
        return Footprint(trained=0, tokens=int(settings.point["prompt_length"]))

    def build(self, base: BaseModel, settings: Settings, head: Head) -> Network:
        """The clean backbone behind what is learned."""
        backbone = base.clean()
        self.guided.check(backbone, self.name)
        set_dropout(backbone, settings.dropout)
        return Network(self.guide(base, settings), head).to(base.device)

    def guide(self, base: BaseModel, settings: Settings) -> Guided:
        """What is learned, at its beginning."""
        raise NotImplementedError

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """What does not depend on the text is computed once."""
        assert isinstance(backbone, Guided)
        return backbone.folded()


def first_ids(base: BaseModel, settings: Settings, count: int) -> Tensor:
    """Token ids (count,) that virtual tokens begin as: drawn from the vocabulary, or a text, repeated or cut.

    Raises:
        SpecError: the tokenizer keeps nothing of the text.
    """
    if settings.point["prompt_init"] == "vocabulary":
        return torch.randint(base.tokenizer.get_vocab_size(), (count,)).to(base.device)
    text = str(settings.point["prompt_text"])
    ids = base.tokenizer.encode(text, add_special_tokens=False).ids
    if not ids:
        raise SpecError(f"parameters.prompt_text: the model's tokenizer keeps nothing of {text!r}; give another text")
    return torch.tensor(ids).repeat(-(-count // len(ids)))[:count].to(base.device)


def first_rows(base: BaseModel, settings: Settings, count: int) -> Tensor:
    """The model's own embeddings (count, hidden) of `first_ids`, in float32."""
    table = base.backbone.get_input_embeddings()  # type: ignore[operator]
    with torch.no_grad():
        rows: Tensor = table(first_ids(base, settings, count)).float()
    return rows
