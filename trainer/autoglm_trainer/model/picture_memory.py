"""How much memory a network on pictures takes, before it is tried.

Their layers have no formula in common, so the pass itself is done, with tensors that have sizes and no numbers
(PyTorch's device `meta`), and the bytes that live at once are counted. It takes little time and no memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from .image_model import ImageModel
from .network import Network

_META = torch.device("meta")
# AdamW's two means of each trained number, in 32 bits.
_MEANS = 8
# What allocators waste, and small copies: measured (tests/trainer/task/test_memory.py).
_WASTE = 1.3
# Their kernels copy what goes in and comes out into a layout of their own, and keep as much for the next time.
_COPYING = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


class Living(TorchDispatchMode):
    """While it lasts: the bytes of all tensors made, now and at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._add(each.untyped_storage())
        if func in _COPYING:
            copied = sum(each.nbytes for each in tree_leaves((args, made)) if isinstance(each, Tensor))
            self.peak = max(self.peak, self.now + 2 * copied)
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()  # noqa: SLF001 - what PyTorch's own trackers tell them apart by
        if place not in self._known:
            self._known.add(place)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


@dataclass(frozen=True)
class PicturePass:
    """What goes through the network at once.

    Attributes:
        trained: in one part of a batch, on one rank; 0 = nothing is trained by gradient.
        judged: whose answers are asked at once.
        size: of both sides, in pixels.
    """

    trained: int
    judged: int
    size: int


def passing_bytes(base: ImageModel, through: PicturePass, build: Callable[[ImageModel], Network]) -> int | None:
    """Bytes that a trial takes beyond the loaded model; None where an operation cannot be done without numbers.

    Args:
        base: the model; it stays as it is.
        through: what it is trained and judged on.
        build: a model → the network that is trained, what is trained of it marked.
    """
    try:
        with torch.device(_META):
            return _counted(base, through, build)
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return None


def _counted(base: ImageModel, through: PicturePass, build: Callable[[ImageModel], Network]) -> int:
    shadow = replace(base, device=_META, _pristine={}, _statistics={}, _dense={})
    shadow.backbone = shadow.fresh()
    half = 0.5 if base.half is not None else 1.0
    with Living() as living:
        network = build(shadow)
        trained = [value for value in network.parameters() if value.requires_grad] if through.trained else []
        needed = 0.0
        if trained:
            network.train()
            network.answers(_blank(base, through.trained, through.size)).logsumexp(1).mean().backward()  # type: ignore[no-untyped-call]
            needed = living.now + half * (living.peak - living.now)
            network.zero_grad(set_to_none=True)
        living.peak = living.now
        with torch.no_grad():
            network.eval().answers(_blank(base, through.judged, through.size))
        needed = max(needed, living.now + half * (living.peak - living.now))
    return int(_WASTE * needed) + _MEANS * sum(value.numel() for value in trained)


def _blank(base: ImageModel, count: int, size: int) -> Any:
    return torch.zeros((count, base.channels, size, size), device=_META)
