"""The ways to tune a model to a task, by name; declared in `autoglm_api.catalog`."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from autoglm_api.catalog.methods import IMAGE_METHODS, METHODS, UNUSABLE_METHODS
from autoglm_api.plugins import resolve
from autoglm_trainer.errors import SpecError

from .method import Fitting, Kept, Loss, Method

__all__ = ["Fitting", "Kept", "Loss", "Method", "check_methods", "get_method"]


def get_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        SpecError: there is none, or its plug-in cannot be used.
    """
    if name in UNUSABLE_METHODS:
        raise SpecError(f"parameters.method: {UNUSABLE_METHODS[name]}")
    known = {**IMAGE_METHODS, **METHODS}
    if name not in known:
        raise SpecError(f"parameters.method: unknown method {name!r}; known: {', '.join(known)}")
    try:
        method: Method = resolve(known[name].trainer)()
    except ImportError as error:
        raise SpecError(f"parameters.method: {error}") from error
    return method


def check_methods(names: Iterable[str]) -> None:
    """Refuse methods that cannot train on this machine, before model and rows are loaded.

    Raises:
        SpecError: one is unknown, its library is missing, or it needs a GPU and there is none.
    """
    for name in names:
        get_method(name)
        if name in METHODS and METHODS[name].needs_gpu and not torch.cuda.is_available():
            raise SpecError(
                f"parameters.method: {name} needs a GPU, and there is none here; add one to trainer.resources.limits"
                f' (nvidia.com/gpu: "1"), or leave {name} out of the choices'
            )
