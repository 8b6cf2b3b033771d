"""What `lora` and `full` have in common."""

from __future__ import annotations

from torch import nn

from autoglm_trainer.training import Examples, Loop

from .method import Fitting


def fit_by_gradient(fitting: Fitting) -> None:
    """Run the training loop, from the control's checkpoint if there is one."""
    corpus, settings = fitting.corpus, fitting.settings
    examples = Examples(
        tokens=corpus.tokens("train", settings.max_length), targets=fitting.targets, pad_id=corpus.base.pad_id
    )
    Loop(fitting.classifier, examples, settings, fitting.control.seed).run(fitting.control, fitting.evaluate)


def set_dropout(backbone: nn.Module, dropout: float) -> None:
    """Set the backbone's own dropout layers; GLM has none."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
