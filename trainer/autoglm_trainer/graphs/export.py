"""A network on a graph as files for a server without torch: an ONNX graph, and the nodes and edges that it knows.

`model.onnx` takes a part of the graph in the order of `INPUTS` (see `GraphNetwork.forward`; a network that does not
look at some of them leaves them out) and gives `probabilities`, (nodes, labels) float32. `graph.safetensors` holds
the whole graph: `first`, `source` and `weight` of `Graph`, and of `Features` `words_first`, `words` and `numbers`.
`nodes.json` holds the names of nodes, words and numbers, in their order. `model.safetensors` holds the network's
weights for PyTorch.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import override

from autoglm_trainer.contract import ExportDescription
from autoglm_trainer.errors import ExportError
from autoglm_trainer.metrics import Floats
from autoglm_trainer.model.graph import GRAPH, OPSET, TOLERANCE, WEIGHTS, quietly

from .data import GraphData
from .graph import Features, Graph
from .neighbourhood import around
from .network import GraphNetwork, inputs_of

INPUTS = ("row", "word", "numbers", "source", "target", "weight", "degree")
KNOWN, NAMES = "graph.safetensors", "nodes.json"
_CPU = torch.device("cpu")


class Answering(nn.Module):
    """A network that answers probabilities."""

    def __init__(self, network: GraphNetwork) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(
        self, row: Tensor, word: Tensor, numbers: Tensor, source: Tensor, target: Tensor, weight: Tensor, degree: Tensor
    ) -> Tensor:
        """As `GraphNetwork.forward`, → (nodes, labels)."""
        logits: Tensor = self.network(row, word, numbers, source, target, weight, degree)
        return logits.softmax(-1)


def export_network(
    network: GraphNetwork, data: GraphData, folder: Path, checked: Tensor, expected: Floats
) -> ExportDescription:
    """Write everything, and compare answers of the written network on the `checked` nodes with the `expected` ones.

    Raises:
        ExportError: one differs.
    """
    alone = copy.deepcopy(network).cpu().eval().requires_grad_(requires_grad=False)
    graph = data.graph(network.settings.edge_direction)
    _write_network(alone, folder)
    _write_graph(graph, data, folder)
    inputs = _check(alone, graph, data.features, folder, checked, expected)
    return ExportDescription(
        labels=data.labels,
        max_length=0,
        inputs=inputs,
        settings={"hops": network.hops, "both_directions": network.settings.edge_direction == "both"},
    )


def _write_network(network: GraphNetwork, folder: Path) -> None:
    words, nodes, edges = (torch.export.Dim(name, min=0, max=2**40) for name in ("words", "nodes", "edges"))
    numbers = network.scaling.mean.shape[0]
    # Sizes that are no two alike and neither 0 nor 1, which the exporter would take for constants.
    example = (
        torch.zeros(5, dtype=torch.int64),
        torch.zeros(5, dtype=torch.int64),
        torch.zeros(3, numbers),
        torch.zeros(7, dtype=torch.int64),
        torch.zeros(7, dtype=torch.int64),
        torch.ones(7),
        torch.ones(3),
    )
    sizes = dict(zip(INPUTS, (words, words, nodes, edges, edges, edges, nodes), strict=True))
    with quietly():
        program = torch.onnx.export(
            Answering(network).eval(),
            example,
            input_names=list(INPUTS),
            output_names=["probabilities"],
            dynamic_shapes={name: {0: size} for name, size in sizes.items()},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "the dynamo exporter returns a program"
        program.save(folder / GRAPH)
    tensors = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _write_graph(graph: Graph, data: GraphData, folder: Path) -> None:
    features = data.features
    arrays = {
        "first": graph.first,
        "source": graph.source,
        "weight": graph.weight,
        "words_first": features.first,
        "words": features.words,
        "numbers": features.numbers,
    }
    save_file({name: value.contiguous() for name, value in arrays.items()}, folder / KNOWN)
    names = {
        "nodes": [node.name for node in data.nodes.every],
        "words": list(features.vocabulary),
        "numbers": list(features.columns),
    }
    (folder / NAMES).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")


def _check(
    network: GraphNetwork, graph: Graph, features: Features, folder: Path, nodes: Tensor, expected: Floats
) -> tuple[str, ...]:
    """Ask the written network about a few nodes; the answer is which inputs it takes."""
    import onnxruntime  # only the export needs it

    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    taken = tuple(known.name for known in session.get_inputs())
    seen = inputs_of(around(graph, nodes, hops=network.hops), features, _CPU)
    feeds = {name: part.numpy() for name, part in zip(INPUTS, seen, strict=True) if name in taken}
    (answers,) = session.run(None, feeds)
    difference = float(np.abs(answers[: len(nodes)] - expected).max())
    # Written so that a NaN fails too.
    if not difference <= TOLERANCE:
        raise ExportError(
            f"the exported network answers differently: its probabilities differ by up to {difference:.2g} (allowed"
            f" {TOLERANCE:g}); please report this with the study's file"
        )
    return taken
