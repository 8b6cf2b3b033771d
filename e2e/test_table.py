"""A table on a volume becomes trained trials, an exported model, and answers about rows, whole ones and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from e2e.cluster.cluster import Cluster
from e2e.endpoints import predict, search_and_serve
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import DATA_CLAIM, put_rows, study

pytestmark = pytest.mark.timeout(600)

# Who pays back, and how much, follows from income and housing; some cells are empty.
WRITE = """
import os
os.umask(0)
for name, numbers in (("train", range(200)), ("test", range(200, 240))):
    with open(f"/data/{name}.csv", "w") as file:
        file.write("income,age,housing,since,label,sum\\n")
        for number in numbers:
            income, age, housing = number * 37 % 90 + 10, number * 13 % 50 + 20, ("own", "rent", "free")[number % 3]
            total = income + 30 * (housing == "own")
            label = "paid" if total > 60 else "lost"
            since = f"20{number % 20 + 10}-0{number % 9 + 1}-15"
            file.write(f"{income},{age if number % 5 else ''},{housing},{since},{label},{total}\\n")
"""
TASKS: Mapping[str, Any] = {
    "tabular-classification": ({"label": "label"}, "sum", {"metric": "auc", "direction": "Maximize"}),
    "tabular-regression": ({"target": "sum"}, "label", {"metric": "mae", "direction": "Minimize"}),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_table_becomes_a_model_that_answers_rows(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str, task: str
) -> None:
    put_rows(kube, namespace, WRITE)
    columns, ignored, objective = TASKS[task]
    rows = {split: {"source": f"pvc://{DATA_CLAIM}/{split}.csv"} for split in ("train", "test")}
    body = study(
        "loans",
        task=task,
        data={**rows, "columns": columns, "ignore": [ignored]},
        objectives=[objective],
        parameters=[
            {"name": "method", "categorical": {"choices": ["boosting", "linear"]}},
            {"name": "rounds", "int": {"min": 40, "max": 80}, "when": {"parameter": "method", "in": ["boosting"]}},
        ],
        trials={"max": 3, "parallel": 1},
    )
    del body["spec"]["model"]
    url, told = search_and_serve(kube, cluster, namespace, body)
    assert told["trials"]["complete"] + told["trials"].get("pruned", 0) == 3
    rich, poor = {"income": 95, "age": 40, "housing": "own", "since": "2015-03-15"}, {"income": "12", "housing": "rent"}
    answer = wait_for(lambda: predict(url, [rich, poor]))
    assert answer["digest"] == told["model"]["digest"]
    if task == "tabular-classification":
        assert [each["label"] for each in answer["predictions"]] == ["paid", "lost"]
    else:
        assert [each["value"] for each in answer["predictions"]] == pytest.approx([125, 12], abs=15)
    installation.check_operator()
