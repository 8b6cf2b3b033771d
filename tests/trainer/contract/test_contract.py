"""Every task keeps the contract between worker, trainer and server, on the tiny BERT and the tiny GLM."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from tests.trainer.contract.cases import CASES, Case
from tests.trainer.task.making import Control, make_places, make_run, write_model, write_rows

from autoglm_api.catalog import TASKS
from autoglm_api.manifest import Manifest
from autoglm_serving.answerer import load_answerer, warm_up
from autoglm_trainer import report
from autoglm_trainer.contract import Refits
from autoglm_trainer.errors import DataError, SpecError
from autoglm_trainer.tasks import get_task

Load = Callable[[], Any]


def test_every_built_in_task_has_a_case() -> None:
    assert {case.task for case in CASES} == {name for name, task in TASKS.items() if "autoglm_" in task.trainer}


PAIRS = [pytest.param((case, model), id=f"{case.name}-{model or 'alone'}") for case in CASES for model in case.models]


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Case, str | None]:
    found: tuple[Case, str | None] = request.param
    return found


@pytest.fixture(scope="module")
def case(pair: tuple[Case, str | None]) -> Case:
    return pair[0]


@pytest.fixture(scope="module")
def load(pair: tuple[Case, str | None], tmp_path_factory: pytest.TempPathFactory) -> Load:
    """The task loaded as a new process would have it."""
    return loader(*pair, tmp_path_factory.mktemp(pair[0].task))


def loader(case: Case, architecture: str | None, folder: Path) -> Load:
    model = architecture and f"file://{write_model(folder / 'model', architecture)}"
    splits = {"train": case.rows(60, 0), "test": case.rows(20, 200)}
    sources = {split: write_rows(folder / f"{split}.jsonl", rows) for split, rows in splits.items()}
    metric, direction = case.objective
    run = make_run(
        model,
        sources["train"],
        task=case.task,
        data={"test": {"source": sources["test"]}, "columns": case.columns, **edges(case, folder)},
        objectives=[{"metric": metric, "direction": direction}],
    )
    return lambda: get_task(case.task).load(run, make_places(folder))


def edges(case: Case, folder: Path) -> dict[str, Any]:
    """The part of `data` that a graph has besides."""
    return {"edges": {"source": write_rows(folder / "edges.jsonl", case.edges)}} if case.edges else {}


@pytest.fixture(scope="module")
def loaded(load: Load) -> Any:
    return load()


def digest(fitted: Any, folder: Path) -> str:
    """Of all that `save` writes: two models with one digest are one model."""
    folder.mkdir()
    fitted.save(folder)
    files = sorted(folder.iterdir())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_it_learns_and_measures_every_metric_of_its_declaration(case: Case, loaded: Any) -> None:
    fitted = loaded.fit({**case.point, **case.taught}, Control())
    measured = fitted.evaluate("test")
    assert set(measured) == set(TASKS[case.task].metrics)
    assert measured[case.objective[0]] >= case.good
    assert measured[case.objective[0]] == fitted.predict("test").measure()[case.objective[0]]


def test_a_seed_decides_the_model_and_resuming_changes_nothing(
    case: Case, load: Load, loaded: Any, tmp_path: Path
) -> None:
    control = Control()
    whole = digest(loaded.fit(case.point, control), tmp_path / "whole")
    assert [step for step, _ in control.reports] == list(range(1, len(control.reports) + 1))
    with pytest.raises(InterruptedError):
        loaded.fit(case.point, Control(save_to=tmp_path / "checkpoint", stop_after_beats=5))
    resumed = load().fit(case.point, Control(resume_from=tmp_path / "checkpoint"))
    assert digest(resumed, tmp_path / "resumed") == whole
    assert digest(loaded.fit(case.point, Control(seed=99)), tmp_path / "other") != whole


def test_it_is_pruned_at_once_and_the_fit_after_it_is_unharmed(
    case: Case, load: Load, loaded: Any, tmp_path: Path
) -> None:
    with pytest.raises(optuna.TrialPruned):
        loaded.fit({**case.point, "method": case.reporting}, Control(prune_at=1))
    after = loaded.fit(case.other, Control())
    assert digest(after, tmp_path / "after") == digest(load().fit(case.other, Control()), tmp_path / "fresh")


def test_the_declaration_says_whether_the_winner_can_learn_from_the_validation_rows_too(
    case: Case, loaded: Any, tmp_path: Path
) -> None:
    assert isinstance(loaded, Refits) == TASKS[case.task].refits
    if isinstance(loaded, Refits):
        alone = digest(loaded.fit(case.point, Control()), tmp_path / "alone")
        assert digest(loaded.refit(case.point, Control(), reports=None), tmp_path / "both") != alone


def test_a_saved_model_restored_and_served_answers_as_the_trained_one(
    case: Case, load: Load, loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = loaded.fit(case.point, Control())
    trained = fitted.predict("test")
    (tmp_path / "weights").mkdir()
    fitted.save(tmp_path / "weights")
    restored = load().restore(case.point, tmp_path / "weights")
    assert restored.predict("test").measure() == trained.measure()
    (tmp_path / "model").mkdir()
    described = restored.export(tmp_path / "model")
    manifest = Manifest.model_construct(
        task=case.task,
        labels=described.labels,
        max_length=described.max_length,
        inputs=described.inputs,
        settings=dict(described.settings),
    )
    answerer = load_answerer(tmp_path / "model", manifest, threads=1)
    warm_up(answerer)
    rows = case.rows(20, 200)
    answers = answerer.predict([answerer.parse(case.asked(row), f"data[{index}]") for index, row in enumerate(rows)])
    assert [index for index, answer in enumerate(answers) if not case.agree(trained, index, answer)] == []
    (tmp_path / "model/manifest.json").write_text(manifest.model_dump_json(by_alias=True))
    monkeypatch.chdir(tmp_path / "model")
    told = said_by_the_model_card(case.task)
    if case.task in IN_CARDS:
        item, silence = IN_CARDS[case.task]
        (answer,) = answerer.predict([answerer.parse(item, "data[0]")])
        assert told == (answer["answer"] or silence)


# What the cards ask, and what they print for an empty answer.
IN_CARDS = {
    "question-answering": (
        {"question": "what is the colour of the sky", "context": "today the sky is red and the sea is green"},
        "no answer",
    ),
    "text-generation": ("the sky", ""),
}


def said_by_the_model_card(task: str) -> str:
    """What the code under "How to use it" prints, run beside the files that it is about."""
    usage = Path(report.__file__).with_name("usage") / f"{task}.md.j2"
    with redirect_stdout(io.StringIO()) as said:
        exec(usage.read_text().split("```python\n")[1].split("```")[0], {})
    return said.getvalue().strip()


def test_what_it_predicts_can_be_resampled_and_reported(case: Case, loaded: Any) -> None:
    predictions = loaded.fit(case.other, Control()).predict("test")
    everything = predictions.measure(np.arange(len(predictions)))
    assert everything == pytest.approx(predictions.measure(), nan_ok=True)
    assert predictions.wrong() is None or 0 <= predictions.wrong() <= len(predictions)
    assert len(predictions.mistakes(3)) <= 3
    assert predictions.sections()
    assert len(loaded.baseline("test")) == len(predictions)


REFUSED = [pytest.param(case, model, id=f"{case.name}-{model}") for case in CASES for model in case.refused]


@pytest.mark.parametrize(("case", "architecture"), REFUSED)
def test_a_model_that_it_cannot_run_on_is_refused(case: Case, architecture: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        loader(case, architecture, tmp_path)()
    assert case.refused[architecture] in str(refused.value)
    assert f"file://{tmp_path / 'model'}" in str(refused.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_rows_are_refused_with_source_line_and_remedy(case: Case, tmp_path: Path) -> None:
    good = case.rows(4, 0)
    for number, (row, said) in enumerate(case.bad):
        source = write_rows(tmp_path / f"{number}.jsonl", [*good, row])
        metric, direction = case.objective
        run = make_run(
            "file:///nowhere" if case.models[0] else None,
            source,
            task=case.task,
            data={"columns": case.columns, **edges(case, tmp_path)},
            objectives=[{"metric": metric, "direction": direction}],
        )
        with pytest.raises(DataError) as refused:
            get_task(case.task).load(run, make_places(tmp_path))
        assert said in str(refused.value)
        assert f"{number}.jsonl, line {len(good) + 1}" in str(refused.value)
