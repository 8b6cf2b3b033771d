"""What is exported answers without torch as the trained network does, for every kind of layer and for new nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.trainer.contract.cases import CASES
from tests.trainer.graphs.test_neighbourhood import POINTS
from tests.trainer.graphs.test_nodes import Json, load
from tests.trainer.task.making import Control

from autoglm_api.manifest import Manifest
from autoglm_serving.requests import Refused
from autoglm_serving.tasks.node_classification import NodeClassifier
from autoglm_trainer.errors import ExportError
from autoglm_trainer.tasks.node_classification import LoadedNodes

CASE = next(case for case in CASES if case.task == "node-classification")
ROWS = CASE.rows(60, 0)
NEW = CASE.rows(1, 200)[0]
NEIGHBOURS = [edge for edge in CASE.edges if edge["source"] == 200]


@pytest.fixture(scope="module")
def with_new(tmp_path_factory: pytest.TempPathFactory) -> LoadedNodes:
    """The graph with one node that training did not see."""
    edges = [edge for edge in CASE.edges if edge["source"] <= 200]
    return load(tmp_path_factory.mktemp("new"), ROWS, edges, test=[NEW])


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> LoadedNodes:
    """The same without it."""
    return load(tmp_path_factory.mktemp("old"), ROWS, [edge for edge in CASE.edges if edge["source"] < 200])


def served(loaded: LoadedNodes, fitted: Any, folder: Path) -> NodeClassifier:
    folder.mkdir(exist_ok=True)
    described = fitted.export(folder)
    manifest = Manifest.model_construct(
        task="node-classification", labels=described.labels, inputs=described.inputs, settings=dict(described.settings)
    )
    return NodeClassifier(folder, manifest, threads=1)


def scores(server: NodeClassifier, *items: Any) -> np.ndarray[Any, Any]:
    parsed = [server.parse(item, f"data[{place}]") for place, item in enumerate(items)]
    return np.array([list(answer["scores"].values()) for answer in server.predict(parsed)])


@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point.values())))
def test_a_new_node_is_answered_as_if_it_stood_in_the_graph(
    with_new: LoadedNodes, without: LoadedNodes, point: Json, tmp_path: Path
) -> None:
    fitted = with_new.fit({**point, "epochs": 3}, Control())
    expected = fitted.predict("test").probabilities
    fitted.save(tmp_path)
    server = served(without, without.restore(point, tmp_path), tmp_path / "model")
    backward = point.get("edge_direction") == "forward"
    item = {
        "words": NEW["words"],
        "features": {"pages": NEW["pages"]},
        # A node that only points to others hears of none of them where messages follow the edges.
        "neighbours": [] if backward else [edge["target"] for edge in NEIGHBOURS],
        "weights": [] if backward else [edge["weight"] for edge in NEIGHBOURS],
    }
    assert np.allclose(scores(server, item, item), expected[[0, 0]], atol=1e-4)
    known = scores(server, *[row["id"] for row in ROWS], {"node": "7"})
    assert np.allclose(known[:-1], server_free(without, point, tmp_path), atol=1e-4)
    assert np.array_equal(known[7], known[-1])


def server_free(loaded: LoadedNodes, point: Json, weights: Path) -> Any:
    places = [loaded.data.place[str(row["id"])] for row in ROWS]
    import torch

    return loaded.restore(point, weights).probabilities(torch.tensor(places))


@pytest.fixture(scope="module")
def server(without: LoadedNodes, tmp_path_factory: pytest.TempPathFactory) -> NodeClassifier:
    return served(without, without.fit({"epochs": 1}, Control()), tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("n99", "data[0] is 'n99', which the graph does not have"),
        (None, "data[0] must be a node's name or an object, got null"),
        ({}, "data[0] is empty"),
        ({"node": 3, "words": []}, "'words' beside node"),
        ({"words": ["cell"], "colour": 1}, "unknown field 'colour'"),
        ({"words": "cell", "features": [1]}, "data[0].words must be a list, got a text"),
        ({"words": ["cell"]}, "data[0].features must be 1 numbers (pages), got 0"),
        ({"features": {"page": 1}}, "data[0].features lacks 'pages'"),
        ({"features": ["x"]}, "data[0].features[0] must be a number, got a text"),
        ({"features": [10**400]}, "data[0].features[0] must be at most 1e+37, got 1000"),
        ({"features": [1], "neighbours": [0, "x"]}, "data[0].neighbours[1] is 'x', which the graph does not have"),
        ({"features": [1], "neighbours": [0], "weights": [0]}, "data[0].weights[0] must be above 0"),
        ({"features": [1], "neighbours": [0], "weights": []}, "data[0].weights must be a list of 1 numbers"),
        ({"features": [1], "neighbours": [[0]]}, "data[0].neighbours[0] must be a text or a number, got a list"),
    ],
)
def test_an_item_that_cannot_be_answered_is_refused_by_its_place(server: NodeClassifier, item: Any, said: str) -> None:
    with pytest.raises(Refused) as refused:
        server.parse(item, "data[0]")
    assert said in str(refused.value)


def test_a_new_node_may_stand_alone_and_say_words_that_nobody_knows(server: NodeClassifier) -> None:
    alone = scores(server, {"features": [5], "words": ["unheard"]}, {"features": [5]}, {"features": [-1e37]})
    assert np.isfinite(alone).all()
    assert np.array_equal(alone[0], alone[1])


def test_the_model_card_shows_how_to_ask_the_files_without_torch(
    without: LoadedNodes, tmp_path: Path, server: NodeClassifier
) -> None:
    described = without.fit({"epochs": 1}, Control()).export(tmp_path)
    (tmp_path / "manifest.json").write_text(Manifest.model_construct(labels=described.labels).model_dump_json())
    usage = (
        Path(sys.modules[LoadedNodes.__module__].__file__ or "").parents[1] / "report/usage/node-classification.md.j2"
    )
    script = usage.read_text().split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys; assert 'torch' not in sys.modules"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line.rsplit(" ", 1)[1] for line in done.stdout.splitlines()]
    answers = scores(server, *[row["id"] for row in ROWS])
    assert told == [described.labels[place] for place in answers.argmax(1)]


def test_a_network_that_answers_otherwise_is_not_exported(without: LoadedNodes, tmp_path: Path) -> None:
    fitted = without.fit({"epochs": 1}, Control())
    said = fitted.probabilities
    fitted.probabilities = lambda nodes: said(nodes) + 0.01  # type: ignore[method-assign]
    with pytest.raises(ExportError, match="differ by up to"):
        fitted.export(tmp_path)
