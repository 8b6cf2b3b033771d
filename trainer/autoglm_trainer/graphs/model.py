"""A trained network on a graph: what it answers, how fast, and how it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from autoglm_trainer.contract import ExportDescription, SplitName
from autoglm_trainer.metrics import Floats, latency_p95_ms
from autoglm_trainer.predictions.nodes import NodePredictions

from .data import GraphData
from .export import export_network
from .neighbourhood import around, everything
from .network import GraphNetwork, inputs_of
from .settings import GraphSettings

WEIGHTS, SETTINGS = "weights.safetensors", "settings.json"
LATENCY = "latency_p95_ms"


@dataclass
class FittedNodes:
    """Meets `contract.FittedModel`. It answers on the whole graph, with the nodes that training did not see.

    Attributes:
        check_split: refuses a split that the study does not have.
    """

    data: GraphData
    settings: GraphSettings
    network: GraphNetwork
    check_split: Callable[[str], None]
    _answers: dict[str, Floats] = field(default_factory=dict, repr=False)

    @property
    def sizes(self) -> dict[str, int]:
        """How many parameters were trained, which are all."""
        count = sum(value.numel() for value in self.network.parameters())
        return {"trained": count, "total": count}

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics on `split`."""
        return {**self.predict(split).measure(), LATENCY: self._latency(split)}

    def measure_now(self, metric: str) -> float:
        """`metric` on the validation nodes with the weights as they are at this moment of training."""
        self._answers.clear()
        value = self._latency("validation") if metric == LATENCY else self.predict("validation").measure()[metric]
        self._answers.clear()
        return value

    def predict(self, split: SplitName) -> NodePredictions:
        """What the model says of each node of `split`."""
        self.check_split(split)
        if split not in self._answers:
            self._answers[split] = self.probabilities(self.data.places(split))
        return split_predictions(self.data, split, self._answers[split])

    def probabilities(self, nodes: Tensor) -> Floats:
        """(nodes, labels); by neighbourhoods where it was trained by them, since the whole graph may not fit."""
        graph, features = self.data.graph(self.settings.edge_direction), self.data.features
        size, device = self.settings.batch_size, self.network.device
        self.network.eval()
        with torch.no_grad():
            if not size:
                logits = self.network(*inputs_of(everything(graph), features, device))[nodes.to(device)]
            else:
                parts = [
                    self.network(*inputs_of(around(graph, asked, hops=self.network.hops), features, device))[
                        : len(asked)
                    ]
                    for asked in torch.split(nodes, size)
                ]
                logits = torch.cat(parts)
            return np.asarray(logits.double().softmax(-1).cpu().numpy(), dtype=np.float64)

    def _latency(self, split: str) -> float:
        """95th percentile in milliseconds of one node at a time, with the finding of its neighbourhood."""
        graph, nodes = self.data.graph(self.settings.edge_direction), self.data.places(split)
        device = self.network.device
        self.network.eval()

        def forward(row: int) -> None:
            seen = around(graph, nodes[row : row + 1], hops=self.network.hops)
            self.network(*inputs_of(seen, self.data.features, device)).cpu()

        with torch.no_grad():
            return latency_p95_ms(forward, len(nodes))

    def save(self, folder: Path) -> None:
        """Write all weights; the graph is not part of it."""
        save_file({name: value.cpu() for name, value in self.network.state_dict().items()}, folder / WEIGHTS)
        written = {"parameters": dict(self.settings.point), "signature": self.data.signature}
        (folder / SETTINGS).write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")

    def export(self, folder: Path) -> ExportDescription:
        """Write network and graph, and check the network's answers; see `export.py`."""
        checked = self.data.places("validation")[:32]
        return export_network(self.network, self.data, folder, checked, self.probabilities(checked))


def split_predictions(data: GraphData, split: str, probabilities: Floats) -> NodePredictions:
    """Probabilities (rows, labels) beside the nodes that they are of."""
    counts = data.graph("both").counts[data.places(split)]
    return NodePredictions(
        labels=data.labels,
        truth=data.targets(split),
        probabilities=probabilities,
        texts=tuple(node.name for node in data.rows(split)),
        edges=counts.numpy(),
    )
