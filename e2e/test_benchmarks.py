"""All benchmarks run at a tiny size; their figures mean nothing there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks import few_shot, fixed_cost, gpu_check, packing, reconcile, tasks, throughput
from benchmarks.cases import Case
from benchmarks.random_glm import write_glm
from benchmarks.results import Table


def figures(table: Table) -> dict[str, float]:
    return {row.what: row.figure for row in table.rows}


def test_fixed_cost_compares_one_process_with_many(tmp_path: Path) -> None:
    found = figures(fixed_cost.run(tmp_path, fixed_cost.SMALL))
    assert 0 < found["journal: median of a trial"] < found["journal: mean, the process's start shared out"]
    expected = found["journal: a process a trial, mean"] / found["journal: mean, the process's start shared out"]
    assert found["journal: less by"] == pytest.approx(expected)


def test_throughput_compares_trials_an_hour(tmp_path: Path) -> None:
    found = figures(throughput.run(tmp_path, throughput.SMALL))
    ours, plain = found["frozen head: trials an hour, ours"], found["frozen head: trials an hour, plain script"]
    assert found["frozen head: faster by"] == pytest.approx(ours / plain)
    assert found["frozen head: a trial, ours"] < found["frozen head: a trial, plain script"]


@pytest.mark.parametrize("case", tasks.SMALL.cases, ids=lambda case: case.task)
def test_a_study_s_worth_is_read_from_its_export(case: Case, tmp_path: Path) -> None:
    found = figures(tasks.run(tmp_path, tasks.Size((case,), tasks.SMALL.seeds)))
    shown = {what.split(": ")[1]: figure for what, figure in found.items()}
    assert 0 < shown["accuracy, tuned"] <= 1
    removed = (shown["accuracy, tuned"] - shown["accuracy, default"]) / (1 - shown["accuracy, default"])
    assert shown["share of the default's error removed"] == pytest.approx(removed)


def test_a_network_that_a_study_pretrained_is_what_the_next_studies_begin_with(tmp_path: Path) -> None:
    found = figures(few_shot.run(tmp_path, few_shot.SMALL))
    accuracies = [figure for what, figure in found.items() if ": accuracy" in what]
    assert len(accuracies) == 4
    assert all(0 <= figure <= 1 for figure in accuracies)


def test_workers_that_share_a_device_train_all_trials_of_their_study(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_glm(model, gpu_check.SMALL.shape, device="cpu")
    one, two = (packing.measure(model, tmp_path / str(workers), workers, gpu_check.SMALL.study) for workers in (1, 2))
    assert (one.trials, two.trials) == (1, 2)
    assert one.per_hour > 0
    assert two.per_hour > 0


@pytest.mark.skipif("KUBECONFIG" in os.environ, reason="the benchmark makes a control plane of its own")
def test_reconcile_compares_the_operator_with_a_bare_loop(tmp_path: Path) -> None:
    found = figures(reconcile.run(tmp_path, reconcile.SMALL))
    operator, bare = found["Jobs a second, operator"], found["Jobs a second, bare loop"]
    assert found["the operator's share of the bare loop's rate"] == pytest.approx(operator / bare)
    assert (
        found["operator: from the first study to the last pod"]
        >= found["operator: from the first study to the last Job"]
    )
    assert found["operator: peak memory"] > 20
