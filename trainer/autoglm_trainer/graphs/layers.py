"""Layers on graphs, in plain torch so that they export to ONNX as they are.

All take what is known of the nodes, (nodes, inputs), and the edges that bring messages. Edges of weights other than 1
count accordingly everywhere. Tests hold them to PyTorch Geometric's layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu
from typing_extensions import override

_SLOPE = 0.2


class Edges(NamedTuple):
    """Edges by places of their ends, (edges,); `degree` (nodes,): the sum of weights that reach each node anywhere."""

    source: Tensor
    target: Tensor
    weight: Tensor
    degree: Tensor


class Bag(NamedTuple):
    """Features as they come in: words that each node has or has not, and numbers.

    `row` (words,): the node, by its place. `word` (words,): the word's. `share` (words,): what it counts. `numbers`
    (nodes, numbers). Most nodes have few of the words, so nothing is as wide as the vocabulary.
    """

    row: Tensor
    word: Tensor
    share: Tensor
    numbers: Tensor


class Linear(nn.Module):
    """A linear layer on numbers or on a bag; begun as Glorot & Bengio 2010 have it, as all the papers on graphs do."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    @override
    def forward(self, seen: Tensor | Bag) -> Tensor:
        """(nodes, inputs) → (nodes, outputs)."""
        said = self._bag(seen) if isinstance(seen, Bag) else seen @ self.weight
        return said if self.bias is None else said + self.bias

    def _bag(self, seen: Bag) -> Tensor:
        inputs, outputs = self.weight.shape
        numbers = seen.numbers.shape[1]
        words, known = self.weight[: inputs - numbers], self.weight[inputs - numbers :]
        nothing = seen.numbers.new_zeros(seen.numbers.shape[0], outputs)
        said = nothing.index_add(0, seen.row, words[seen.word] * seen.share.unsqueeze(-1)) if len(words) else nothing
        return said + seen.numbers @ known if numbers else said


class Propagation(nn.Module):
    """What a node's neighbours and itself say, averaged: one multiplication with the normalised adjacency matrix.

    Source: Kipf & Welling 2017, "Semi-Supervised Classification with Graph Convolutional Networks"; `symmetric` is its
    D^-1/2 (A + λI) D^-1/2 with λ = `self_weight`, `mean` is D^-1 (A + λI).
    """

    def __init__(self, *, self_weight: float, normalisation: str) -> None:
        super().__init__()
        self.self_weight, self.symmetric = self_weight, normalisation == "symmetric"

    @override
    def forward(self, seen: Tensor, edges: Edges) -> Tensor:
        """(nodes, any) → the same shape."""
        total = edges.degree + self.self_weight
        # A node without edges, its own included, hears nothing.
        inverse = torch.where(total > 0, 1 / total.clamp(min=1e-12), torch.zeros_like(total))
        share = edges.weight * inverse[edges.target]
        if self.symmetric:
            share = edges.weight * (inverse[edges.source] * inverse[edges.target]).sqrt()
        heard = added_up(seen[edges.source] * share.unsqueeze(-1), edges.target, len_of=seen)
        return heard + seen * (self.self_weight * inverse).unsqueeze(-1)


class Convolution(nn.Module):
    """A linear layer, then `Propagation`: the layer of a GCN."""

    def __init__(self, inputs: int, outputs: int, propagation: Propagation) -> None:
        super().__init__()
        self.linear = Linear(inputs, outputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.propagation = propagation

    @override
    def forward(self, seen: Tensor | Bag, edges: Edges) -> Tensor:
        """(nodes, inputs) → (nodes, outputs)."""
        heard: Tensor = self.propagation(self.linear(seen), edges)
        return heard + self.bias


class Sage(nn.Module):
    """One linear layer on the node, another on its neighbours, these by their mean or the largest of each number.

    Source: Hamilton, Ying & Leskovec 2017, "Inductive Representation Learning on Large Graphs". The neighbours' layer
    comes before they are put together, which is the same for the mean, and cheaper where there are many inputs.
    """

    def __init__(self, inputs: int, outputs: int, *, aggregation: str) -> None:
        super().__init__()
        self.own = Linear(inputs, outputs, bias=True)
        self.neighbours = Linear(inputs, outputs)
        self.largest = aggregation == "max"

    @override
    def forward(self, seen: Tensor | Bag, edges: Edges) -> Tensor:
        """(nodes, inputs) → (nodes, outputs)."""
        said, own = self.neighbours(seen), self.own(seen)
        if self.largest:
            heard = largest(said[edges.source], edges.target, len_of=said)
        else:
            summed = added_up(said[edges.source] * edges.weight.unsqueeze(-1), edges.target, len_of=said)
            heard = summed / edges.degree.clamp(min=1e-12).unsqueeze(-1)
        answer: Tensor = own + heard
        return answer


class Attention(nn.Module):
    """A node hears its neighbours and itself, each as much as learned attention gives it.

    Source: Veličković et al. 2018, "Graph Attention Networks". An edge's weight multiplies what attention would give.

    Args:
        inputs: numbers a node.
        outputs: numbers a head.
        heads: how many.
        joined: whether the heads stand side by side, (nodes, heads * outputs), or are averaged, (nodes, outputs).
        attention_dropout: the share of attention that is dropped in training.
    """

    def __init__(self, inputs: int, outputs: int, *, heads: int, joined: bool, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.joined, self.attention_dropout = heads, joined, attention_dropout
        self.linear = Linear(inputs, heads * outputs)
        self.source = nn.Parameter(torch.empty(heads, outputs))
        self.target = nn.Parameter(torch.empty(heads, outputs))
        self.bias = nn.Parameter(torch.zeros(heads * outputs if joined else outputs))
        nn.init.xavier_uniform_(self.source)
        nn.init.xavier_uniform_(self.target)

    @override
    def forward(self, seen: Tensor | Bag, edges: Edges) -> Tensor:
        """(nodes, inputs) → (nodes, heads * outputs) or (nodes, outputs)."""
        said = self.linear(seen).unflatten(-1, (self.heads, -1))  # (nodes, heads, outputs)
        itself = torch.arange(said.shape[0], device=said.device)
        source, target = torch.cat([edges.source, itself]), torch.cat([edges.target, itself])
        weight = torch.cat([edges.weight, torch.ones_like(edges.degree)])
        attention = self._attention(said, source, target, weight)
        attention = dropout(attention, self.attention_dropout, training=self.training)
        heard = added_up(said[source] * attention.unsqueeze(-1), target, len_of=said)
        return (heard.flatten(1) if self.joined else heard.mean(1)) + self.bias

    def _attention(self, said: Tensor, source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """(edges, heads), for each node and head 1 in all."""
        asks, answers = (said * self.target).sum(-1), (said * self.source).sum(-1)
        scores = leaky_relu(answers[source] + asks[target], _SLOPE) + weight.log().unsqueeze(-1)
        powers = (scores - largest(scores, target, len_of=asks).detach()[target]).exp()
        return powers / added_up(powers, target, len_of=asks)[target]


def added_up(messages: Tensor, target: Tensor, *, len_of: Tensor) -> Tensor:
    """The sum of the messages to each node, (edges, …) → (nodes, …); shaped as `len_of`."""
    return torch.zeros_like(len_of).index_add(0, target, messages)


def largest(messages: Tensor, target: Tensor, *, len_of: Tensor) -> Tensor:
    """The largest message to each node, number by number, (edges, numbers) → (nodes, numbers); 0 without any."""
    places = target.unsqueeze(-1).expand_as(messages)
    found = torch.full_like(len_of, -torch.inf).scatter_reduce(0, places, messages, "amax")
    return torch.where(found > -torch.inf, found, torch.zeros_like(found))
