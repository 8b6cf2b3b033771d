"""What the methods that train step by step have in common."""

from __future__ import annotations

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from autoglm_trainer.tuning.patience import Patience
from autoglm_trainer.tuning.training import Loop

from .method import Fitting


def fit_by_gradient(fitting: Fitting) -> None:
    """Run the training loop, from the control's checkpoint if there is one."""
    loop = Loop(
        fitting.network,
        fitting.examples,
        fitting.criterion,
        fitting.settings,
        fitting.control.seed,
        Patience(fitting.settings.patience, maximize=fitting.maximize),
        collate=fitting.base.collate,
        ranks=fitting.ranks,
        half=fitting.base.half,
        reports=fitting.reports,
    )
    loop.run(fitting.control, fitting.evaluate)


def set_dropout(backbone: nn.Module, dropout: float) -> None:
    """Set the backbone's own dropout layers; GLM has none."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout


def merge_adapters(backbone: nn.Module) -> nn.Module:
    """The base model with the adapters' part in its weights."""
    assert isinstance(backbone, BaseTuner), "only an adapted backbone has something to merge"
    merged: nn.Module = backbone.merge_and_unload()
    return merged
