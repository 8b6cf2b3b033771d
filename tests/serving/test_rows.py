"""Rows of a table as items: what may be left out, what is refused, and that nothing but ONNX Runtime is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from autoglm_api.manifest import Manifest
from autoglm_api.tables import TABLE, CategoryColumn, Dropped, NumberColumn, TableSchema
from autoglm_serving.answerer import Answerer, load_answerer, warm_up
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused

SCHEMA = TableSchema(
    columns=(
        NumberColumn(name="age", blanks=("-",)),
        CategoryColumn(name="town", values=("Oslo", "Bergen"), shares=(0.6, 0.4)),
    ),
    dropped=(Dropped(name="id", why="it names the rows"),),
    known=("label",),
)


def write_graph(path: Path, outputs: int) -> None:
    """Answers 0.3 and 0.7, or the first cell, with 40 for a missing one."""
    nodes = [
        helper.make_node("Gather", ["cells", "first"], ["raw"], axis=1),
        helper.make_node("IsNaN", ["raw"], ["gap"]),
        helper.make_node("Where", ["gap", "usual", "raw"], ["age"]),
        helper.make_node("Mul", ["age", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["answers"]),
    ]
    constants = {
        "first": np.array([0]),
        "usual": np.array([[40]], dtype=np.float32),
        "weights": np.zeros((1, 2), dtype=np.float32) if outputs == 2 else np.ones((1, 1), dtype=np.float32),
        "bias": np.array([[0.3, 0.7]], dtype=np.float32) if outputs == 2 else np.zeros((1, 1), dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["rows", outputs])],
        initializer=[numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


def load(folder: Path, task: str = "tabular-classification", **settings: Any) -> Answerer:
    labels = ("lost", "paid") if task == "tabular-classification" else ()
    write_graph(folder / "model.onnx", len(labels) or 1)
    (folder / TABLE).write_text(SCHEMA.model_dump_json(by_alias=True))
    manifest = Manifest.model_construct(task=task, labels=labels, max_length=0, inputs=("cells",), settings=settings)
    answerer = load_answerer(folder, manifest, threads=1)
    warm_up(answerer)
    return answerer


def test_a_row_may_leave_columns_out_and_name_those_that_taught_nothing(tmp_path: Path) -> None:
    estimator = load(tmp_path, "tabular-regression")
    items = [{"age": 31}, {"age": "32.5", "town": "Molde", "id": 7, "label": "paid"}, {"town": None}, {}, {"age": "-"}]
    answers = estimator.predict([estimator.parse(item, "data") for item in items])
    assert [answer["value"] for answer in answers] == [31, 32.5, 40, 40, 40]


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        ("Oslo", "BadItem", "data[2] must be an object, column → value, got a text"),
        ({"aeg": 3}, "BadItem", "data[2]: the model knows no column 'aeg'; did you mean 'age'?"),
        ({"xyz": 3}, "BadItem", "known: age, town, id, label"),
        ({"age": "old"}, "WrongType", "data[2]: 'age' must be a number as in the training rows, got \"old\""),
        ({"age": True}, "WrongType", "'age' must be a number"),
        ({"age": -(10**400)}, "WrongType", "'age' must be a number as in the training rows, at most 1e+37, got -1000"),
        ({"town": ["Oslo"]}, "WrongType", "'town' must be a text, a number or a boolean, got [\"Oslo\"]"),
    ],
)
def test_what_is_no_row_of_the_table_is_refused_with_a_sentence(
    tmp_path: Path, item: object, code: str, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        load(tmp_path).parse(item, "data[2]")
    assert (refused.value.status, refused.value.code) == (422, code)
    assert said in refused.value.message


@pytest.mark.parametrize(("threshold", "label", "score"), [(0.5, "paid", 0.7), (0.2, "lost", 0.3)])
def test_the_rarer_class_is_answered_from_its_threshold_on(
    tmp_path: Path, threshold: float, label: str, score: float
) -> None:
    classifier = load(tmp_path, positive="lost", threshold=threshold)
    (answer,) = classifier.predict([classifier.parse({}, "data")])
    assert (answer["label"], answer["score"]) == (label, pytest.approx(score))
    assert answer["scores"] == pytest.approx({"lost": 0.3, "paid": 0.7})


def test_a_table_of_another_graph_is_not_served(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / TABLE).write_text(TableSchema(columns=SCHEMA.columns[:1]).model_dump_json(by_alias=True))
    manifest = Manifest.model_construct(
        task="tabular-classification", labels=("lost", "paid"), max_length=0, inputs=("cells",), settings={}
    )
    with pytest.raises(UnusableModelError, match=r"model\.onnx takes cells of 2, table\.json has 1 numbers a row"):
        load_answerer(tmp_path, manifest, threads=1)


def test_rows_are_answered_without_any_library_that_learns() -> None:
    program = "import sys, autoglm_serving.tasks.tabular; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in loaded
    assert not {"torch", "sklearn", "lightgbm", "onnx", "scipy", "pandas"} & set(loaded)
