"""Linear layers whose weights have 4 bits, by bitsandbytes; imported by who needs them, since it is an extra.

After Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3: NormalFloat of 4 bits in blocks
of 64, whose scales have 8 bits themselves. Every pass turns a layer's weights back into the type that it computes in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

try:
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit, Params4bit
except ImportError as error:
    raise ImportError("it needs bitsandbytes: pip install 'open-autoglm[trainer-gpu]'") from error

# 4 bits, and 8 for each block's scale, and 32 for each 256 of those.
BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)


def quantised(dense: nn.Linear, device: torch.device, compute: torch.dtype) -> nn.Linear:
    """A layer of 4 bits on `device` that computes in the type `compute`; `dense` stays as it is."""
    layer = Linear4bit(  # type: ignore[no-untyped-call]
        dense.in_features,
        dense.out_features,
        bias=dense.bias is not None,
        compute_dtype=compute,
        quant_type="nf4",
        device="meta",
    )
    layer.weight = Params4bit(dense.weight.data, quant_type="nf4", module=layer)
    if dense.bias is not None:
        layer.bias = nn.Parameter(dense.bias.data.clone())
    moved: nn.Linear = layer.to(device).requires_grad_(requires_grad=False)
    return moved


def dequantised(layer: nn.Module) -> nn.Linear:
    """An ordinary layer in float32 with the very weights that one of 4 bits computes with.

    Raises:
        TypeError: it has other weights.
    """
    if not isinstance(layer, Linear4bit):
        raise TypeError(f"a layer of 4 bits is needed, got a {type(layer).__name__}")
    packed: Any = layer.weight
    weight = dequantize_4bit(packed.data, packed.quant_state)
    dense = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    dense.weight = nn.Parameter(weight.float())
    if layer.bias is not None:
        dense.bias = nn.Parameter(layer.bias.data.float())
    return dense
