"""Training: what it takes of memory, and that it computes where it is told to."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.trainer.graphs.making import random_features, random_graph
from tests.trainer.graphs.test_neighbourhood import POINTS
from tests.trainer.task.test_memory import STATUS, Brief, peak_bytes

from autoglm_trainer.graphs.data import GraphData
from autoglm_trainer.graphs.network import GraphNetwork
from autoglm_trainer.graphs.settings import GraphSettings
from autoglm_trainer.graphs.training import Lesson, Loop
from autoglm_trainer.model.memory import resident_bytes
from autoglm_trainer.rows.edges import GivenEdges
from autoglm_trainer.rows.node import Node
from autoglm_trainer.rows.nodes import Nodes
from autoglm_trainer.rows.splits import Rows, Splits
from autoglm_trainer.tasks.node_classification import LoadedNodes
from autoglm_trainer.tuning.patience import Patience

NODES, EDGES = 6_000, 60_000
# Twice a graph's largest arrays, freed or not: what an allocator gives back is its own affair.
FACTOR = 2.0


@pytest.mark.parametrize("batch_size", [0, 4])
@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point.values())))
def test_a_step_computes_on_the_networks_device_alone(point: dict[str, Any], batch_size: int) -> None:
    settings = GraphSettings.of({**point, "batch_size": batch_size})
    graph, features = random_graph(direction=settings.edge_direction), random_features()
    # A tensor of another device in any operation is an error there.
    network = GraphNetwork(features, 3, settings).to("meta")
    lesson = Lesson(graph, features, torch.arange(10), torch.zeros(10, dtype=torch.int64), torch.ones(3))
    loop = Loop(network, lesson, settings, 1, Patience(0, maximize=True))
    loop._advance(torch.arange(5))
    assert {value.device.type for value in loop.trained.values()} == {"meta"}


def load() -> LoadedNodes:
    draw = np.random.default_rng(0)
    every = tuple(
        Node(str(place), tuple(map(str, draw.integers(0, 500, 10))), (0.5,), "ab"[place % 2], "", place)
        for place in range(NODES)
    )
    rows = {"train": Rows("nodes.csv", every[:500]), "validation": Rows("nodes.csv", every[500:600])}
    nodes = Nodes(Splits(**rows, test=None), every, NODES, ("age",))
    source, target = draw.integers(0, NODES, (2, EDGES))
    return LoadedNodes(
        GraphData.of(nodes, GivenEdges(source, target, np.ones(EDGES), "")), "accuracy", torch.device("cpu")
    )


def estimated_over_taken() -> dict[str, float]:
    """Point → what was estimated of it over what two steps took of this process's memory."""
    torch.set_num_threads(1)
    loaded, ratios = load(), {}
    loaded.data.graph("both").degree  # noqa: B018 - made once, by no trial alone
    for point in (
        {"method": "gcn", "hidden": 64},
        {"method": "gat", "hidden": 16, "heads": 4},
        {"method": "sage", "hidden": 64, "layers": 3},
        {"method": "appnp", "hidden": 128},
        {"method": "gcn", "hidden": 256, "batch_size": 256, "neighbours": 5},
    ):
        estimate = loaded.estimate(point)
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = resident_bytes()
        Path("/proc/self/clear_refs").write_text("5")
        with pytest.raises(InterruptedError):
            loaded.fit(point, Brief())
        ratios[str(point)] = (estimate.needed - loaded.resident) / (peak_bytes() - before)
    return ratios


@pytest.mark.skipif(not STATUS.exists(), reason="the kernel does not tell a process's peak")
def test_what_training_takes_is_what_was_estimated_within_a_factor() -> None:
    # In a process of its own: what other tests have left free would be taken before anything new.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        ratios = alone.submit(estimated_over_taken).result()
    assert all(1 / FACTOR < ratio < FACTOR for ratio in ratios.values()), ratios
