"""How much memory training takes, before it is tried: a formula, and what the device or the container has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_SINGLE = 4
# Where a container's limit stands: version 2 of control groups, and version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Footprint:
    """What a method adds to the model.

    Attributes:
        trained: numbers that it trains, copies of the model's own or new ones.
        layers: how many layers, from the top, keep what the backward pass needs; None = all.
        beside: numbers that it keeps for each number that goes into a linear layer.
        tokens: virtual ones, before every text.
        held: bytes of weights that are not trained, beyond those of the model as it was loaded; below 0 = fewer.
    """

    trained: int
    layers: int | None = None
    beside: float = 0.0
    tokens: int = 0
    held: int = 0


@dataclass(frozen=True)
class Pass:
    """What goes through the backbone at once.

    Attributes:
        examples: in one part of a batch, on one rank.
        tokens: of the longest example, virtual ones included.
        answers: how many tokens, or texts, of all the examples get logits.
        outputs: logits of each.
        mixed: whether they are of a mixture of all layers' hidden states.
    """

    examples: int
    tokens: int
    answers: int
    outputs: int
    mixed: bool = False


@dataclass(frozen=True)
class Shape:
    """A transformer's sizes, as its config tells them; of one layer where nothing else is said.

    Attributes:
        queries: size of the queries of all heads.
        keys: of their keys, which may be fewer.
        inner: the feed-forward layer's size.
        gated: whether that has a second input matrix (SwiGLU), and positions turn queries and keys.
        quadratic: whether attention keeps numbers for each pair of tokens; fused kernels do not.
    """

    layers: int
    hidden: int
    heads: int
    queries: int
    keys: int
    inner: int
    gated: bool
    quadratic: bool

    @classmethod
    def of(cls, config: Any, device: torch.device, *, dropout: float) -> Shape:  # a config has no useful type
        """Read a transformers config."""
        text = config.get_text_config()
        hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
        size = int(getattr(text, "head_dim", None) or hidden // heads)
        # A CPU's fused attention has no dropout.
        dropped = device.type == "cpu" and dropout > 0 and hasattr(text, "attention_probs_dropout_prob")
        return cls(
            layers=int(text.num_hidden_layers),
            hidden=hidden,
            heads=heads,
            queries=heads * size,
            keys=int(getattr(text, "num_key_value_heads", None) or heads) * size,
            inner=int(getattr(text, "intermediate_size", None) or 4 * hidden),
            gated=getattr(text, "hidden_act", "") in ("silu", "swish"),
            quadratic=dropped or getattr(text, "_attn_implementation", None) == "eager",
        )

    def kept(self, through: Pass, footprint: Footprint) -> int:
        """Numbers that a forward pass keeps for the backward pass.

        After Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", section 4.1:
        34 bytes for each token, hidden unit and layer in 16 bits (17 numbers: norms, queries, keys, values, what goes
        into each linear layer and into the activation, masks), and 5 (here 3 numbers) for each pair of tokens and
        head. Here queries, keys and inner layer have sizes of their own; masks and norms have whole numbers, as
        PyTorch keeps them; gated layers add their second input, and what positions make of queries and keys.
        """
        inputs = 4 * self.hidden + self.queries + self.inner
        token = 6 * self.hidden + 2 * self.queries + 2 * self.keys + 2 * self.inner + footprint.beside * inputs
        if self.gated:
            token += 3 * self.queries + self.keys + 2 * self.inner
        layers = self.layers if footprint.layers is None else min(footprint.layers, self.layers)
        return int(layers * through.examples * through.tokens * (token + self._pairs(through)))

    def passing(self, through: Pass) -> int:
        """Numbers that are in use at once in a pass of which nothing is kept: those of the fuller half of a layer.

        Its callers hold the embedded text, the layer's input, and in the second half what attention has made of it. In
        the first there are the normed input, queries, keys and values, these once more where several heads share them,
        and what attention answers, twice, since heads are put side by side. In the second the normed input, what comes
        out of the first matrix (gated: both, in one matrix for GLM), out of the activation, and the product of both.
        """
        shared = 2 * self.queries if self.keys < self.queries else 0
        attention = 3 * self.hidden + 3 * self.queries + 2 * self.keys + shared + self._pairs(through)
        feed_forward = 4 * self.hidden + (4 if self.gated else 2) * self.inner
        return through.examples * through.tokens * max(attention, feed_forward)

    def on_top(self, through: Pass) -> int:
        """Numbers of 32 bits between the backbone and the logits: all layers' states, normed, and weighed."""
        return 3 * (self.layers + 1) * through.examples * through.tokens * self.hidden if through.mixed else 0

    def _pairs(self, through: Pass) -> int:
        return 3 * self.heads * through.tokens if self.quadratic else 0


# What allocators waste, and temporary copies: measured (tests/trainer/task/test_memory.py).
_WASTE = 1.1


def training_bytes(shape: Shape, through: Pass, footprint: Footprint, *, half: bool) -> int:
    """Bytes that training takes beyond the model as it is loaded.

    Each trained number, its gradient and AdamW's two means of it, in 32 bits all: 16 bytes. What is kept for the
    backward pass, in 16 bits where `half`. Logits in 32 bits, with softmax and gradient.
    """
    activations = (2 if half else _SINGLE) * (shape.kept(through, footprint) + shape.passing(through))
    logits = _SINGLE * (3 * through.answers * through.outputs + shape.on_top(through))
    return int(4 * _SINGLE * footprint.trained + _WASTE * (activations + logits))


def inference_bytes(shape: Shape, through: Pass, *, half: bool) -> int:
    """Bytes of a pass of which nothing is kept."""
    passing = (2 if half else _SINGLE) * shape.passing(through)
    return int(_WASTE * (passing + _SINGLE * (through.answers * through.outputs + shape.on_top(through))))


def library_bytes(device: torch.device) -> int:
    """What a GPU's libraries keep for themselves: cuBLAS and cuBLASLt each a workspace, of 32 MiB from Hopper on.

    Older GPUs have smaller ones: https://docs.nvidia.com/cuda/cublas/#cublassetworkspace.
    """
    return 2 * 32 * 2**20 if device.type == "cuda" else 0


def resident_bytes() -> int:
    """What this process holds now in the machine's memory."""
    if not _STATUS.exists():
        return 0
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]) * 1024


def limit_bytes(device: torch.device) -> int:
    """What this process can have: of a GPU what others leave it; of a container its limit, else the machine's."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device))
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    written = [path.read_text().strip() for path in _LIMITS if path.is_file()]
    return min([machine, *(int(limit) for limit in written if limit.isdigit())])
