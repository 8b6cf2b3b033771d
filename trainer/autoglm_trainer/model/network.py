"""The network that all methods train: a backbone, and a head on its hidden states that ignores padding."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from autoglm_trainer.tokens.examples import Batch

POOLINGS = ("mean", "first", "last")
_RUNNING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def half_type(device: torch.device) -> torch.dtype | None:
    """The 16-bit type to compute in: bfloat16, which has float32's range, or float16 on a GPU that lacks it.

    None on a CPU, which is slower in 16 bits than in 32.
    """
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def numbers(parameter: nn.Parameter) -> int:
    """How many numbers a parameter stands for; with weights of 4 bits two stand in each byte."""
    packed = getattr(parameter, "quant_state", None)
    return parameter.numel() if packed is None else int(packed.shape.numel())


def pool(hidden: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """Hidden states (batch, tokens, hidden) to one vector a text, (batch, hidden), in float32.

    `first` and `last` are the first and last token that is not padding, on whichever side the padding is.
    """
    hidden = hidden.float()
    if pooling == "mean":
        weights = attention_mask.to(hidden.dtype).unsqueeze(-1)  # (batch, tokens, 1)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    order = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
    ranks = order if pooling == "last" else hidden.shape[1] + 1 - order
    place = (attention_mask * ranks).argmax(dim=1)  # (batch,)
    return hidden.gather(1, place[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)


def encode(backbone: nn.Module, input_ids: Tensor, attention_mask: Tensor, *, layers: bool = False) -> Tensor:
    """Hidden states (batch, tokens, hidden); with `layers` those of all layers, (1 + layers, batch, tokens, hidden).

    Weights of 16 bits on a GPU compute under autocast.
    """
    config: Any = backbone.config  # a transformers config has no useful type
    # A decoder would keep keys and values of all its layers for tokens that never come.
    asked = {"use_cache": False} if getattr(config, "use_cache", False) else {}
    halved = input_ids.is_cuda and next(backbone.parameters()).dtype != torch.float32
    with torch.autocast("cuda", half_type(input_ids.device)) if halved else nullcontext():
        if layers:
            every = backbone(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, **asked)
            return torch.stack(every.hidden_states)
        hidden: Tensor = backbone(input_ids=input_ids, attention_mask=attention_mask, **asked).last_hidden_state
    return hidden


class Head(nn.Module):
    """What a task puts on the hidden states; `output` is its linear layer, the only part that a frozen fit trains.

    Attributes:
        layers: whether it looks at the hidden states of all layers.
        sparse: whether it looks at answered tokens alone, because its outputs are too many for all of them.
    """

    output: nn.Linear
    pooling: str | None
    layers = False
    sparse = False

    def __init__(self, hidden_size: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, outputs)

    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """What the linear layer sees, (batch, hidden) or (batch, tokens, hidden), in float32."""
        raise NotImplementedError

    @override
    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden) and its mask → logits (batch, outputs) or (batch, tokens, outputs)."""
        logits: Tensor = self.output(self.dropout(self.features(hidden, attention_mask)))
        return logits


class PooledHead(Head):
    """One answer for each text."""

    def __init__(self, hidden_size: int, outputs: int, *, dropout: float, pooling: str) -> None:
        super().__init__(hidden_size, outputs, dropout=dropout)
        self.pooling = pooling

    @override
    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        assert self.pooling is not None, "a pooled head pools"
        return pool(hidden, attention_mask, self.pooling)


class TokenHead(Head):
    """One answer for each token."""

    pooling = None

    @override
    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        return hidden.float()


class LayerGatedHead(TokenHead):
    """One answer for each token, from a learned mixture of all layers."""

    layers = True

    def __init__(self, hidden_size: int, outputs: int, *, dropout: float, layers: int) -> None:
        """`layers`: of the backbone; its embeddings are one more."""
        super().__init__(hidden_size, outputs, dropout=dropout)
        self.mixture = first_mixture(layers)

    @override
    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        return mixed(hidden, self.mixture)


class LayerGatedPooledHead(PooledHead):
    """One answer for each text, from a learned mixture of all layers."""

    layers = True

    def __init__(self, hidden_size: int, outputs: int, *, dropout: float, pooling: str, layers: int) -> None:
        """`layers`: of the backbone; its embeddings are one more."""
        super().__init__(hidden_size, outputs, dropout=dropout, pooling=pooling)
        self.mixture = first_mixture(layers)

    @override
    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        return super().features(mixed(hidden, self.mixture), attention_mask)


def first_mixture(layers: int) -> nn.Parameter:
    """The last layer begins with the largest share: it alone is what an ungated head sees."""
    return nn.Parameter(torch.tensor([0.0] * layers + [2.0]))


def mixed(hidden: Tensor, mixture: Tensor) -> Tensor:
    """Hidden states of all layers, (1 + layers, batch, tokens, hidden), to one of them, in float32.

    After Peters et al. 2018, "Deep contextualized word representations", equation 1, with the norm that is proposed
    there: layers of a decoder differ in scale by orders of magnitude.
    """
    normed = nn.functional.layer_norm(hidden.float(), hidden.shape[-1:])
    return (mixture.softmax(0)[:, None, None, None] * normed).sum(0)


class TokenGatedHead(TokenHead):
    """One answer for each token, which a learned gate lets through or holds back."""

    def __init__(self, hidden_size: int, outputs: int, *, dropout: float) -> None:
        super().__init__(hidden_size, outputs, dropout=dropout)
        self.gate = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 2.0)  # nearly open

    @override
    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = hidden.float()
        let_through: Tensor = hidden * self.gate(hidden).sigmoid()
        return let_through


class VocabularyHead(Head):
    """A language model's own output layer: one logit for each token of its vocabulary."""

    pooling = None
    sparse = True

    def __init__(self, output: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.output = output

    @override
    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.output(hidden.to(self.output.weight.dtype))
        return logits.float()


class Network(nn.Module):
    """Token ids to logits."""

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        # Parameter name → share of the learning rate, where it is not 1.
        self.rate_factors: dict[str, float] = {}

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens) twice → logits (batch, outputs) or (batch, tokens, outputs)."""
        hidden = encode(self.backbone, input_ids, attention_mask, layers=self.head.layers)
        logits: Tensor = self.head(hidden, attention_mask)
        return logits

    def answers(self, batch: Batch) -> Tensor:
        """Logits of what a batch answers, (answers, outputs)."""
        if not self.head.sparse:
            return batch.answers(self(batch.input_ids, batch.attention_mask))
        hidden = encode(self.backbone, batch.input_ids, batch.attention_mask)
        logits: Tensor = self.head(batch.answers(hidden), batch.attention_mask)
        return logits

    @override
    def train(self, mode: bool = True) -> Network:
        """As of any module, but statistics of what is frozen stand still."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _RUNNING) and not _is_trained(module):
                module.eval()
        return self

    def learned(self) -> dict[str, Tensor]:
        """What the method changes, by name: parameters that it trains, and the running statistics beside them."""
        trained = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {**trained, **running_statistics(self)}

    def trained_weights(self) -> dict[str, Tensor]:
        """Copies of what the method changes, by name: all that `load_trained` needs beyond the base model."""
        return {name: value.detach().clone() for name, value in self.learned().items()}

    def load_trained(self, weights: dict[str, Tensor]) -> None:
        """Put back what `trained_weights` gave.

        Raises:
            ValueError: the names or shapes are another model's.
        """
        own = self.learned()
        if own.keys() != weights.keys():
            odd = sorted(own.keys() ^ weights.keys())[:5]
            raise ValueError(f"weights of another model: {odd} are not in both")
        with torch.no_grad():
            for name, value in own.items():
                if value.shape != weights[name].shape:
                    raise ValueError(f"weights of another model: {name} is {tuple(weights[name].shape)}")
                value.copy_(weights[name])


def running_statistics(module: nn.Module) -> dict[str, Tensor]:
    """Means and variances that batch norms with trained weights move while they train, by name."""
    return {
        f"{name}.{own}".lstrip("."): value
        for name, part in module.named_modules()
        if isinstance(part, _RUNNING) and _is_trained(part)
        for own, value in part.named_buffers(recurse=False)
        if value.is_floating_point()
    }


def _is_trained(norm: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in norm.parameters(recurse=False))
