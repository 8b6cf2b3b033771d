"""`node-classification`: a label for each node of a graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

from autoglm_api.base import Scalar
from autoglm_api.catalog.node_classification import NODE_CLASSIFICATION
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run
from autoglm_trainer.baselines.features_alone import answer_by_features
from autoglm_trainer.contract import MemoryEstimate, Places, SplitName, TrialControl
from autoglm_trainer.errors import DataError, Infeasible
from autoglm_trainer.graphs.data import GraphData
from autoglm_trainer.graphs.memory import estimated
from autoglm_trainer.graphs.model import SETTINGS, WEIGHTS, FittedNodes, split_predictions
from autoglm_trainer.graphs.network import GraphNetwork
from autoglm_trainer.graphs.settings import GraphSettings
from autoglm_trainer.graphs.training import Lesson, Loop
from autoglm_trainer.model.memory import resident_bytes
from autoglm_trainer.predictions.nodes import NodePredictions
from autoglm_trainer.rows.edges import load_edges
from autoglm_trainer.rows.nodes import load_nodes
from autoglm_trainer.tuning.patience import Patience


class NodeClassification:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedNodes:
        """Read nodes and edges; see `contract.Task`."""
        columns = NODE_CLASSIFICATION.named_columns(run.data.columns)
        nodes = load_nodes(run.data, places.data, columns, seed=run.sampler.seed)
        assert run.data.edges is not None, "the task's declaration asks for edges"
        numbers = {node.name: place for place, node in enumerate(nodes.every)}
        data = GraphData.of(nodes, load_edges(run.data.edges.source, places.data, columns, numbers))
        return LoadedNodes(data, run.objective.metric, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@dataclass
class LoadedNodes:
    """A graph in memory; meets `contract.LoadedTask`.

    Attributes:
        metric: the objective's.
        resident: bytes that the process holds without a trial, of the device's memory.
    """

    data: GraphData
    metric: str
    device: torch.device
    resident: int = field(init=False)

    baseline_name = "node features alone"

    def __post_init__(self) -> None:
        self.resident = 0 if self.device.type == "cuda" else resident_bytes()

    @property
    def digests(self) -> DataDigests:
        """Digests of nodes and edges."""
        return self.data.digests

    @property
    def has_test(self) -> bool:
        """Whether nodes are marked or named as test nodes."""
        return "test" in self.row_counts

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Labelled nodes by split."""
        return self.data.nodes.splits.counts

    def overlap(self, split: SplitName) -> int:
        """How many nodes of `split` are training nodes, too: none, since a node is for one thing only."""
        self._check_split(split)
        return self.data.nodes.splits.overlap(split)

    def baseline(self, split: SplitName) -> NodePredictions:
        """Logistic regression on the nodes' features, without edges."""
        self._check_split(split)
        probabilities = answer_by_features(self.data.rows("train"), self.data.rows(split))
        return split_predictions(self.data, split, probabilities)

    def _check_split(self, split: str) -> None:
        if split not in self.row_counts:
            raise DataError(
                f"data.{split}: there are no {split} nodes; mark some in the nodes' file, or add data.{split}.source"
            )

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedNodes:
        """Train at `parameters`; a GPU whose memory is too small makes the point infeasible."""
        settings = GraphSettings.of(parameters)
        torch.manual_seed(control.seed)
        try:
            fitted = self._fresh(settings)
            maximize = NODE_CLASSIFICATION.metrics[self.metric] == "Maximize"
            loop = Loop(
                fitted.network, self._lesson(settings), settings, control.seed, Patience(settings.patience, maximize)
            )
            loop.run(control, lambda: fitted.measure_now(self.metric))
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise Infeasible(
                f"the GPU's memory is too small for method {settings.method} with hidden {settings.hidden}, layers"
                f" {settings.layers} and batch_size {settings.batch_size}"
            ) from error
        return fitted

    def estimate(self, parameters: Mapping[str, Scalar]) -> MemoryEstimate:
        """What `fit` will need."""
        settings = GraphSettings.of(parameters)
        return estimated(self.data, self._fresh(settings).network, settings, self.device, resident=self.resident)

    def _fresh(self, settings: GraphSettings) -> FittedNodes:
        network = GraphNetwork(self.data.features, len(self.data.labels), settings)
        network.scaling.learn(self.data.features.numbers[: self.data.nodes.seen])
        return FittedNodes(self.data, settings, network.to(self.device), self._check_split)

    def _lesson(self, settings: GraphSettings) -> Lesson:
        targets = torch.from_numpy(self.data.targets("train"))
        counts = torch.bincount(targets, minlength=len(self.data.labels))
        balanced = len(targets) / (len(counts) * counts)
        return Lesson(
            graph=self.data.graph(settings.edge_direction).begun(self.data.nodes.seen),
            features=self.data.features,
            nodes=self.data.places("train"),
            targets=targets,
            class_weight=balanced if settings.class_weight == "balanced" else None,
        )

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedNodes:
        """The model that `save` wrote.

        Raises:
            DataError: labels or features are others now.
        """
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if written["signature"] != self.data.signature:
            raise DataError(
                "data.train: the saved model knows other labels, words or numbers than the nodes have now; the files"
                " changed while the study ran, start a new study"
            )
        fitted = self._fresh(GraphSettings.of({**written["parameters"], **parameters}))
        fitted.network.load_state_dict(load_file(folder / WEIGHTS, device=str(self.device)))
        return fitted
