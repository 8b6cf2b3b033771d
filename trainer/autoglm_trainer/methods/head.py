"""`head`: multinomial logistic regression on the frozen backbone's features, which are computed once a process.

It reports no steps: its first value would be its last, and beside trials that are still learning a pruner would
take that for a head start.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoglm_trainer.classifier import Classifier
from autoglm_trainer.errors import NonFinite
from autoglm_trainer.features import Corpus
from autoglm_trainer.settings import Settings

from .method import Fitting

_ITERATIONS = 300


class Head:
    """Frozen backbone, convex fit: the same answer for every seed."""

    frozen_backbone = True

    def build(self, corpus: Corpus, settings: Settings, labels: int) -> Classifier:
        """Only the linear layer is trainable."""
        base = corpus.base
        classifier = Classifier(base.clean(), base.hidden_size, labels, pooling=settings.pooling, dropout=0.0)
        return classifier.to(base.device)

    def fit(self, fitting: Fitting) -> None:
        """Solve for the linear layer."""
        settings, head = fitting.settings, fitting.classifier.head
        features = fitting.corpus.features(
            "train",
            max_length=settings.max_length,
            pooling=settings.pooling,
            heartbeat=fitting.control.heartbeat,
        )
        if not features.isfinite().all():
            # The solver would end with an error about overflow that names neither the model nor a remedy.
            raise NonFinite("the frozen model answers with NaN or infinity; check its weights")
        weight, bias = logistic_regression(
            features,
            torch.tensor(fitting.targets),
            labels=head.out_features,
            c=settings.head_c,
            heartbeat=fitting.control.heartbeat,
        )
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias)


def logistic_regression(
    features: Tensor, targets: Tensor, *, labels: int, c: float, heartbeat: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """L2-penalised multinomial logistic regression on standardised features, as one linear layer for the plain ones.

    Args:
        features: (rows, hidden).
        targets: (rows,), label indices.
        labels: how many there are.
        c: inverse strength of the penalty: mean cross-entropy + |weight|² / (2 * c * rows).
        heartbeat: called at every evaluation of the loss.

    Returns:
        weight (labels, hidden) and bias (labels,).
    """
    mean, scale = features.mean(0), features.std(0, correction=0)
    scale = torch.where(scale > 1e-6, scale, 1.0)
    scaled = (features - mean) / scale
    weight = torch.zeros(labels, features.shape[1], requires_grad=True)
    bias = torch.zeros(labels, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        heartbeat()
        optimizer.zero_grad()
        penalty = weight.square().sum() / (2 * c * len(targets))
        loss: Tensor = nn.functional.cross_entropy(scaled @ weight.T + bias, targets) + penalty
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    plain = weight.detach() / scale
    return plain, bias.detach() - plain @ mean
