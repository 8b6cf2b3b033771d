"""Weights from a checked folder into one of the architectures that transformers knows; nothing else is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from autoglm_trainer.errors import SpecError


def load_weights(
    kind: Any, source: str, folder: Path, config: Any, device: torch.device
) -> tuple[Any, frozenset[str]]:  # transformers models and configs have no useful type
    """The model, not yet on its device, and the names of its weights that the folder lacks.

    Args:
        kind: one of transformers' `AutoModel…`.
        source: the study's words for the model, for messages.
        folder: where it is.
        config: as read from there.
        device: where it will be.

    Raises:
        SpecError: they cannot be loaded.
    """
    try:
        model, notes = kind.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # On a GPU the checkpoint's own precision; a CPU is slower in bfloat16 than in float32.
            dtype="auto" if device.type == "cuda" else torch.float32,
            output_loading_info=True,
        )
    except (ValueError, OSError, RuntimeError, KeyError, SafetensorError) as error:
        raise SpecError(f"model.source {source}: the weights cannot be loaded ({short(error)})") from error
    return model, frozenset(notes["missing_keys"])


def placed(model: Any, device: torch.device) -> Any:
    """The model on `device`, or still in the host's memory if a GPU cannot hold it: a method may make it smaller."""
    try:
        return model.to(device)
    except torch.OutOfMemoryError:
        return model.to("cpu")


def short(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300]
