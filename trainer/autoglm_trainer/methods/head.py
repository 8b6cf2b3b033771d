"""`head`: a linear layer on the frozen backbone's features, which are computed once a process, solved exactly.

It reports no steps: its first value would be its last, and beside trials that are still learning a pruner would
take that for a head start.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoglm_trainer.errors import NonFinite
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head as NetworkHead
from autoglm_trainer.model.network import Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.settings import Settings

from .method import Fitting, Loss

_ITERATIONS = 300


class Head:
    """Frozen backbone, convex fit: the same answer for every seed."""

    frozen_backbone = True

    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """Nothing is kept of a pass; the linear layer is small."""
        return Footprint(trained=0, layers=0)

    def build(self, base: Pretrained, settings: Settings, head: NetworkHead) -> Network:
        """Only the linear layer is trainable; dropout has no place in an exact solution."""
        head.dropout.p = 0.0
        return base.network(base.clean(), head)

    def fit(self, fitting: Fitting) -> None:
        """Solve for the linear layer."""
        head, heartbeat = fitting.network.head, fitting.control.heartbeat
        features = fitting.features.of(fitting.examples, head.pooling, heartbeat)
        if not features.isfinite().all():
            # The solver would end with an error about overflow that names neither the model nor a remedy.
            raise NonFinite("the frozen model answers with NaN or infinity; check its weights")
        weight, bias = solve_linear(
            features,
            fitting.criterion(fitting.examples),
            outputs=head.output.out_features,
            c=fitting.settings.head_c,
            heartbeat=heartbeat,
        )
        with torch.no_grad():
            head.output.weight.copy_(weight)
            head.output.bias.copy_(bias)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """As it is."""
        return backbone


def solve_linear(
    features: Tensor, loss: Loss, *, outputs: int, c: float, heartbeat: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """The L2-penalised linear layer on standardised features, written as one for the plain ones.

    With cross-entropy as `loss` this is multinomial logistic regression.

    Args:
        features: (answers, hidden).
        loss: a convex mean over the answers of logits (answers, outputs).
        outputs: how many a feature vector gets.
        c: inverse strength of the penalty: loss + |weight|² / (2 * c * answers).
        heartbeat: called at every evaluation of the loss.

    Returns:
        weight (outputs, hidden) and bias (outputs,).
    """
    mean, scale = features.mean(0), features.std(0, correction=0)
    scale = torch.where(scale > 1e-6, scale, 1.0)
    scaled = (features - mean) / scale
    weight = torch.zeros(outputs, features.shape[1], requires_grad=True)
    bias = torch.zeros(outputs, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        heartbeat()
        optimizer.zero_grad()
        value = loss(scaled @ weight.T + bias) + weight.square().sum() / (2 * c * len(features))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    plain = weight.detach() / scale
    return plain, bias.detach() - plain @ mean
