"""Networks on graphs: the scaled features, then layers of one kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, elu, relu
from typing_extensions import override

from .graph import Features
from .layers import Attention, Bag, Convolution, Edges, Linear, Propagation, Sage
from .neighbourhood import Neighbourhood
from .settings import GraphSettings

# So many deviations from the mean are all the same to a network, and further layers stay finite.
_LARGEST = 1e6


class Scaling(nn.Module):
    """A node's words count 1 together; numbers have mean 0 and deviation 1 over the training graph's nodes."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("deviation", torch.ones(numbers))

    def learn(self, numbers: Tensor) -> None:
        """Take mean and deviation of (nodes, numbers); a number that is always the same becomes 0."""
        if numbers.shape[1]:
            double = numbers.double()
            deviation = double.std(0, unbiased=False)
            self.mean.copy_(double.mean(0))
            self.deviation.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    @override
    def forward(self, row: Tensor, word: Tensor, numbers: Tensor) -> Bag:
        """(words,) twice and (nodes, numbers)."""
        ones = torch.ones_like(row, dtype=numbers.dtype)
        counts = numbers.new_zeros(numbers.shape[0]).index_add(0, row, ones)
        scaled = ((numbers - self.mean) / self.deviation).clamp(-_LARGEST, _LARGEST)
        return Bag(row, word, ones / counts[row], scaled)


class GraphNetwork(nn.Module):
    """Logits of each node.

    Attributes:
        hops: how many edges far a node's answer looks.
    """

    def __init__(self, features: Features, labels: int, settings: GraphSettings) -> None:
        super().__init__()
        self.scaling = Scaling(len(features.columns))
        self.settings = settings
        self.layers = nn.ModuleList(_layers(features.width, labels, settings))
        widths = [_width(layer) for layer in self.layers[:-1]]
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths if settings.norm == "layer")
        self.walk = _propagation(settings) if settings.method == "appnp" else None
        self.hops = {"mlp": 0, "appnp": settings.hops}.get(settings.method, settings.layers)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.scaling.mean.device

    @override
    def forward(
        self, row: Tensor, word: Tensor, numbers: Tensor, source: Tensor, target: Tensor, weight: Tensor, degree: Tensor
    ) -> Tensor:
        """What the nodes are known by, the edges among them, and degrees → (nodes, labels).

        Answers of nodes whose neighbourhood is not all there are of no use.

        Args:
            row: (words,), the node that has the word.
            word: (words,), the word's place in the vocabulary.
            numbers: (nodes, numbers).
            source: (edges,), places of nodes.
            target: the same.
            weight: (edges,), above 0.
            degree: (nodes,), see `Edges`.
        """
        edges = self._kept(Edges(source, target, weight, degree))
        bag: Bag = self.scaling(row, word, numbers)
        seen: Tensor | Bag = bag._replace(share=self._dropped(bag.share), numbers=self._dropped(bag.numbers))
        for place, layer in enumerate(self.layers):
            if isinstance(seen, Tensor):
                seen = self.norms[place - 1](seen) if self.norms else seen
                seen = self._dropped(elu(seen) if self.settings.method == "gat" else relu(seen))
            seen = layer(seen) if isinstance(layer, Linear) else layer(seen, edges)
        assert isinstance(seen, Tensor), "there is one layer at least"
        return self._walked(seen, edges)

    def _dropped(self, seen: Tensor) -> Tensor:
        return dropout(seen, self.settings.dropout, training=self.training)

    def _kept(self, edges: Edges) -> Edges:
        """In training each edge is dropped with a probability of its own (Rong et al. 2020, "DropEdge")."""
        share = self.settings.edge_dropout
        if not self.training or not share:
            return edges
        kept = torch.rand(len(edges.weight), device=edges.weight.device) >= share
        # The others weigh more, so that degrees stay what they are in the mean.
        return Edges(edges.source[kept], edges.target[kept], edges.weight[kept] / (1 - share), edges.degree)

    def _walked(self, logits: Tensor, edges: Edges) -> Tensor:
        """Personalised PageRank of the logits, for APPNP (Gasteiger et al. 2019, "Predict then Propagate")."""
        if self.walk is None:
            return logits
        seen = logits
        for _ in range(self.settings.hops):
            seen = (1 - self.settings.teleport) * self.walk(seen, edges) + self.settings.teleport * logits
        return seen


def inputs_of(seen: Neighbourhood, features: Features, device: torch.device) -> tuple[Tensor, ...]:
    """What a network takes, in its order."""
    return tuple(part.to(device) for part in (*features.of(seen.nodes), *seen.edges))


def _layers(inputs: int, labels: int, settings: GraphSettings) -> Sequence[nn.Module]:
    layers: list[nn.Module] = []
    for place in range(settings.layers):
        last = place == settings.layers - 1
        layer = _layer(inputs, labels if last else settings.hidden, settings, last=last)
        layers.append(layer)
        inputs = _width(layer)
    return layers


def _layer(inputs: int, outputs: int, settings: GraphSettings, *, last: bool) -> nn.Module:
    match settings.method:
        case "gcn":
            return Convolution(inputs, outputs, _propagation(settings))
        case "sage":
            return Sage(inputs, outputs, aggregation=settings.aggregation)
        case "gat":
            return Attention(
                inputs,
                outputs,
                heads=settings.heads,
                joined=not last,
                attention_dropout=settings.attention_dropout,
            )
        case _:
            return Linear(inputs, outputs, bias=True)


def _propagation(settings: GraphSettings) -> Propagation:
    return Propagation(self_weight=settings.self_weight, normalisation=settings.normalisation)


def _width(layer: nn.Module) -> int:
    """How many numbers it gives a node."""
    bias = layer.own.bias if isinstance(layer, Sage) else layer.bias
    return len(bias)  # type: ignore[arg-type]
