"""What memory a trial on a language model will take, from the model's sizes and the trial's point."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoglm_trainer.contract import MemoryEstimate
from autoglm_trainer.methods import get_method
from autoglm_trainer.model.memory import (
    Pass,
    Shape,
    inference_bytes,
    library_bytes,
    limit_bytes,
    training_bytes,
)
from autoglm_trainer.tokens.examples import INFERENCE_BATCH

from .problem import Learning
from .ranks import Ranks


def estimate_memory(problem: Learning, base: Any, settings: Any, resident: int, ranks: Ranks) -> MemoryEstimate | None:
    """What training at `settings` will need; None where the model's config does not tell its sizes.

    Args:
        problem: the rows.
        base: the language model, without anything of an earlier trial.
        settings: the point.
        resident: bytes that the process holds without a trial, of the device's memory.
        ranks: who trains together with this process.
    """
    try:
        shape = Shape.of(base.backbone.config, base.device, dropout=settings.dropout)
    except AttributeError:
        return None
    footprint = get_method(settings.method).footprint(base, settings)
    examples: Any = problem.examples("train", settings)
    longest = max(map(len, examples.tokens)) + footprint.tokens
    part = -(-min(settings.batch_size, len(examples)) // (ranks.count * settings.accumulation))
    head = problem.head(base, settings)
    trained = Pass(part, longest, part * max(examples.sizes), head.output.out_features, mixed=head.layers)
    needed = library_bytes(base.device) + max(
        training_bytes(shape, trained, footprint, half=base.half is not None),
        inference_bytes(shape, replace(trained, examples=INFERENCE_BATCH), half=not base.is_float32),
    )
    on_gpu = base.device.type == "cuda"
    return MemoryEstimate(
        # On a CPU all ranks share the container's memory; of GPUs each has its own.
        needed=(resident + footprint.held + needed) * (1 if on_gpu else ranks.count),
        limit=limit_bytes(base.device),
        place="the GPU" if on_gpu else "the container",
    )
