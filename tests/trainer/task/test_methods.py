"""The contract between worker and task, kept by every method on every architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from tests.trainer.task.making import ARCHITECTURES, Control

from autoglm_trainer.errors import DataError, Infeasible, NonFinite, SpecError
from autoglm_trainer.model.network import pool
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning import task as tuned
from autoglm_trainer.tuning.task import LoadedTuned

METRICS = {"accuracy", "f1_macro", "precision", "recall", "loss", "latency_p95_ms"}
HEAD = {"method": "head", "head_c": 1.0}
LORA = {"method": "lora", "epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "lora_r": 4, "dropout": 0.1}
FULL = {"method": "full", "epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "dropout": 0.1}
POINTS = pytest.mark.parametrize("point", [HEAD, LORA, FULL], ids=lambda point: point["method"])

Load = Callable[[str], LoadedTuned]


@pytest.fixture(scope="module")
def task(load: Load) -> LoadedTuned:
    return load("bert")


@pytest.fixture(scope="module")
def plain(task: LoadedTuned) -> Any:
    """What LoRA answers after one epoch."""
    return answers(task.fit({**LORA, "epochs": 1}, Control()))


def answers(fitted: Any) -> Any:
    return np.concatenate(fitted.logits("test"))


def fit(task: LoadedTuned, point: dict[str, Any], **control: Any) -> tuple[Any, Control]:
    watched = Control(**control)
    return task.fit(point, watched), watched


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@POINTS
def test_every_method_learns_on_every_architecture(load: Load, architecture: str, point: dict[str, Any]) -> None:
    pooling = "mean" if architecture == "bert" else "last"
    taught = {"epochs": 8, "learning_rate": 5e-3, "head_learning_rate": 3e-2, "pooling": pooling}
    fitted, control = fit(load(architecture), {**point, **taught})
    measured = fitted.evaluate("test")
    assert set(measured) == METRICS
    assert measured["accuracy"] > 0.65
    assert measured["latency_p95_ms"] > 0
    assert control.beats > 0


@POINTS
def test_the_same_seed_gives_the_same_model_whatever_was_trained_before(
    load: Load, task: LoadedTuned, point: dict[str, Any]
) -> None:
    for other in (FULL, LORA, HEAD):
        fit(task, {**other, "epochs": 1}, seed=99)
    late, _ = fit(task, point)
    fresh, _ = fit(load("bert"), point)
    assert np.array_equal(answers(late), answers(fresh))


@pytest.mark.parametrize("point", [LORA, FULL], ids=lambda point: point["method"])
def test_another_seed_gives_another_model(task: LoadedTuned, point: dict[str, Any]) -> None:
    one, _ = fit(task, point, seed=1)
    two, _ = fit(task, point, seed=2)
    assert not np.array_equal(answers(one), answers(two))


@pytest.mark.parametrize("point", [LORA, FULL], ids=lambda point: point["method"])
@pytest.mark.parametrize("beats", [1, 7])
def test_a_resumed_attempt_ends_exactly_as_an_uninterrupted_one(
    load: Load, task: LoadedTuned, tmp_path: Path, point: dict[str, Any], beats: int
) -> None:
    whole, uninterrupted = fit(task, point)
    first = Control(save_to=tmp_path / "checkpoint", stop_after_beats=beats)
    with pytest.raises(InterruptedError):
        task.fit(point, first)
    assert first.saved_step == len(first.reports)
    resumed, second = fit(load("bert"), point, resume_from=tmp_path / "checkpoint")
    assert first.reports + second.reports == uninterrupted.reports
    assert np.array_equal(answers(resumed), answers(whole))
    assert not list(tmp_path.rglob("*.p*t")), "a checkpoint holds nothing pickled"


def test_a_checkpoint_of_another_point_is_refused(task: LoadedTuned, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        task.fit(LORA, Control(save_to=tmp_path / "checkpoint", stop_after_beats=1))
    with pytest.raises(ValueError, match="steps"):
        fit(task, {**LORA, "epochs": 3}, resume_from=tmp_path / "checkpoint")


@pytest.mark.parametrize("size", [4, 16, 64])
def test_reports_count_half_epochs_whatever_the_batch_size(task: LoadedTuned, size: int) -> None:
    _, control = fit(task, {**LORA, "epochs": 2, "batch_size": size})
    steps = [step for step, _ in control.reports]
    assert steps == ([2, 4] if size == 64 else [1, 2, 3, 4])


@pytest.mark.parametrize("rows_reported", [1, 1_000])
def test_the_last_report_is_the_trials_own_value_and_is_not_computed_twice(
    task: LoadedTuned, monkeypatch: pytest.MonkeyPatch, rows_reported: int
) -> None:
    monkeypatch.setattr(tuned, "REPORT_ROWS", rows_reported)
    fitted, control = fit(task, LORA)
    monkeypatch.setattr(type(fitted), "_compute", None)
    assert control.reports[-1][1] == fitted.evaluate("validation")[task.metric]


def test_a_pruned_trial_ends_at_once_and_the_next_is_unharmed(load: Load, task: LoadedTuned) -> None:
    with pytest.raises(optuna.TrialPruned):
        fit(task, FULL, prune_at=1)
    after, _ = fit(task, HEAD)
    fresh, _ = fit(load("bert"), HEAD)
    assert np.array_equal(answers(after), answers(fresh))


@POINTS
def test_a_saved_model_restores_to_the_same_answers(
    load: Load, task: LoadedTuned, tmp_path: Path, point: dict[str, Any]
) -> None:
    fitted, _ = fit(task, point)
    fitted.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    restored = load("bert").restore(point, tmp_path)
    assert np.array_equal(answers(restored), answers(fitted))


def test_an_earlier_model_still_answers_after_a_later_fit(task: LoadedTuned) -> None:
    early, _ = fit(task, FULL)
    before = answers(early)
    fit(task, LORA)
    early._logits.clear()
    assert np.array_equal(answers(early), before)


def test_a_saved_model_is_refused_when_the_labels_have_changed(task: LoadedTuned, tmp_path: Path) -> None:
    fitted, _ = fit(task, HEAD)
    fitted.save(tmp_path)
    settings = tmp_path / "settings.json"
    settings.write_text(settings.read_text().replace('"green"', '"grey"'))
    with pytest.raises(DataError, match="the rows changed while the study ran"):
        task.restore(HEAD, tmp_path)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("learning_rate", 1e-4),
        ("head_learning_rate", 0.2),
        ("weight_decay", 5.0),
        ("warmup_ratio", 0.9),
        ("dropout", 0.5),
        ("label_smoothing", 0.3),
        ("scheduler", "cosine"),
        ("scheduler", "constant"),
        ("lora_r", 8),
        ("lora_alpha", 2),
        ("lora_dropout", 0.6),
        ("pooling", "first"),
        ("max_length", 5),
        ("epochs", 2),
        ("batch_size", 32),
    ],
)
def test_every_knob_changes_the_model(task: LoadedTuned, plain: Any, knob: str, value: Any) -> None:
    turned, _ = fit(task, {**LORA, "epochs": 1, knob: value})
    assert not np.array_equal(plain, answers(turned))


def test_head_c_changes_the_head(task: LoadedTuned) -> None:
    weak, _ = fit(task, {**HEAD, "head_c": 1e-4})
    strong, _ = fit(task, {**HEAD, "head_c": 10.0})
    assert weak.evaluate("validation")["loss"] > strong.evaluate("validation")["loss"]


def test_features_are_computed_once_for_all_trials_and_poolings(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load("bert")
    passes = 0
    forward = type(task.base.backbone).forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal passes
        passes += 1
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(task.base.backbone), "forward", counted)
    fit(task, HEAD)[0].logits("validation")
    needed = passes
    for pooling in ("mean", "first", "last"):
        for length in (40, 64):
            fit(task, {**HEAD, "head_c": 0.1, "pooling": pooling, "max_length": length})[0].logits("validation")
    assert needed > 0
    assert passes == needed


def test_the_head_reports_nothing_to_pruners(task: LoadedTuned) -> None:
    assert fit(task, HEAD)[1].reports == []


def test_a_gpu_out_of_memory_twice_is_an_infeasible_point(task: LoadedTuned, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []

    def exhausted(loop: Any, *_: Any, **__: Any) -> None:
        parts.append(loop.settings.accumulation)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("autoglm_trainer.tuning.training.Loop.run", exhausted)
    with pytest.raises(Infeasible, match=r"batch_size 8 and max_length \d+, in 2 parts too"):
        fit(task, LORA)
    assert parts == [1, 2]
    monkeypatch.undo()
    fit(task, {**LORA, "epochs": 1})


def test_a_diverged_model_measures_nan(task: LoadedTuned) -> None:
    fitted, _ = fit(task, {**FULL, "learning_rate": 1.0, "weight_decay": 10.0, "epochs": 1})
    with torch.no_grad():
        fitted.weights = {name: torch.full_like(value, torch.nan) for name, value in fitted.weights.items()}
        task.current = None
    assert np.isnan(fitted.evaluate("test")["accuracy"])


def test_a_missing_split_is_refused(task: LoadedTuned, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, _ = fit(task, HEAD)
    data = task.problem.data
    monkeypatch.setattr(task.problem, "data", replace(data, splits=replace(data.splits, test=None)))
    with pytest.raises(DataError, match=r"add data\.test\.source"):
        fitted.evaluate("test")


def test_an_unknown_task_and_method_are_refused(task: LoadedTuned) -> None:
    with pytest.raises(SpecError, match=r"known: .*question-answering"):
        get_task("poetry")
    with pytest.raises(SpecError, match=r"known: head, .*, full, .*lora"):
        fit(task, {"method": "magic"})


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_never_sees_padding(pooling: str, side: str) -> None:
    hidden = torch.randn(1, 3, 4)
    junk = torch.full((1, 2, 4), 1e6)
    mask, zeros = torch.ones(1, 3, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)
    padded = torch.cat([junk, hidden] if side == "left" else [hidden, junk], 1)
    mask_of_padded = torch.cat([zeros, mask] if side == "left" else [mask, zeros], 1)
    assert torch.allclose(pool(padded, mask_of_padded, pooling), pool(hidden, mask, pooling))


def test_weights_that_are_no_numbers_have_no_result(load: Load) -> None:
    broken = load("bert")
    for parameter in broken.base.backbone.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(NonFinite, match="check its weights"):
        fit(broken, HEAD)
    assert np.isnan(fit(broken, LORA)[0].evaluate("validation")["loss"])


def test_models_that_differ_in_weights_alone_share_one_latency_unless_the_study_judges_by_it(load: Load) -> None:
    task = load("bert")
    points = ({**LORA, "epochs": 1}, {**LORA, "epochs": 2}, HEAD, {**HEAD, "max_length": 2})

    def latencies() -> list[float]:
        return [fit(task, point)[0].evaluate("validation")["latency_p95_ms"] for point in points]

    first, second, head, shorter = latencies()
    assert first == second == head != shorter
    task.time_every_model = True
    assert len(set(latencies())) == len(points)
