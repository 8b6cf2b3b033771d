"""The training loop: batches in parts, and the end that comes when nothing gets better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.trainer.task.making import Control

from autoglm_trainer.tuning.patience import Patience
from autoglm_trainer.tuning.task import LoadedTuned

POINT = {"method": "lora", "epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "lora_r": 4, "dropout": 0.0}
POINT |= {"lora_dropout": 0.0}
WILD = {**POINT, "epochs": 6, "learning_rate": 0.3, "scheduler": "constant", "patience": 2}


@pytest.fixture(scope="module")
def task(load: Callable[[str], LoadedTuned]) -> LoadedTuned:
    return load("bert")


def answers(fitted: Any) -> Any:
    return np.concatenate(fitted.logits("test"))


@pytest.mark.parametrize("accumulation", [2, 3, 64])
def test_a_batch_in_parts_trains_the_same_model(task: LoadedTuned, accumulation: int) -> None:
    whole = answers(task.fit({**POINT, "epochs": 1}, Control()))
    parts = answers(task.fit({**POINT, "epochs": 1, "accumulation": accumulation}, Control()))
    assert np.abs(whole - parts).max() < 1e-3


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Of each step of the optimiser: the norm of all gradients, and the rate as a share of its peak."""
    seen: list[tuple[float, float]] = []
    step: Any = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        groups = optimizer.param_groups
        gradients = [value.grad for group in groups for value in group["params"] if value.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
        seen.append((float(norm), groups[0]["lr"] / groups[0]["peak"]))
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    return seen


def test_gradients_are_cut_to_a_norm_of_one(task: LoadedTuned, steps: list[tuple[float, float]]) -> None:
    task.fit({**WILD, "patience": 0, "epochs": 2}, Control())
    norms = [norm for norm, _ in steps]
    assert max(norms) <= 1.001
    assert sum(norm > 0.999 for norm in norms) > 1, "no gradient was longer"
    assert min(norms) < 0.9, "short ones stay as they are"


@pytest.mark.parametrize(
    ("scheduler", "halfway", "last"), [("linear", 0.5, 0.1), ("cosine", 0.5, 0.1), ("constant", 1, 1)]
)
def test_the_rate_rises_and_falls_as_its_scheduler_says(
    task: LoadedTuned, steps: list[tuple[float, float]], scheduler: str, halfway: float, last: float
) -> None:
    task.fit({**POINT, "epochs": 4, "scheduler": scheduler, "warmup_ratio": 0.2}, Control())
    rates = [rate for _, rate in steps]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(1)
    assert 1 <= top <= 0.2 * len(rates)
    assert rates[round(0.6 * len(rates))] == pytest.approx(halfway, abs=0.05)
    assert rates[-1] <= last


def test_without_a_better_report_training_ends_with_the_best_weights(task: LoadedTuned) -> None:
    control = Control()
    fitted = task.fit(WILD, control)
    reports = [value for _, value in control.reports]
    best = reports.index(max(reports))
    assert len(reports) == best + 1 + 2 < 12
    assert fitted.evaluate("validation")["accuracy"] == max(reports)


def test_a_resumed_attempt_keeps_its_patience(
    load: Callable[[str], LoadedTuned], task: LoadedTuned, tmp_path: Path
) -> None:
    whole = Control()
    expected = answers(task.fit(WILD, whole))
    first = Control(save_to=tmp_path / "checkpoint", stop_after_beats=8)
    with pytest.raises(InterruptedError):
        task.fit(WILD, first)
    second = Control(resume_from=tmp_path / "checkpoint")
    assert np.array_equal(answers(load("bert").fit(WILD, second)), expected)
    assert first.reports + second.reports == whole.reports


def test_nan_is_never_better_and_smaller_may_be() -> None:
    patience = Patience(2, maximize=False)
    for value in (3.0, float("nan"), 1.0, 2.0, 1.0):
        assert not patience.over
        patience.note(value, {})
    assert (patience.best, patience.over) == (1.0, True)
    endless = Patience(0, maximize=True)
    for _ in range(9):
        endless.note(0.0, {})
    assert not endless.over


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_training_in_sixteen_bits_learns_as_in_thirty_two_and_resumes(
    load: Callable[[str], LoadedTuned], task: LoadedTuned, tmp_path: Path, half: torch.dtype
) -> None:
    point = {**POINT, "epochs": 8, "head_learning_rate": 3e-2}
    full = task.fit(point, Control())
    halved = load("bert")
    assert halved.base.half is None, "a CPU is slower in 16 bits"
    halved.base.half = half  # as on a GPU; a CPU can do it too
    fitted = halved.fit(point, Control())
    assert {value.dtype for value in fitted.weights.values()} == {torch.float32}
    assert fitted.evaluate("test")["accuracy"] > 0.65
    assert 1e-5 < np.abs(answers(fitted) - answers(full)).mean() < 1
    with pytest.raises(InterruptedError):
        halved.fit(point, Control(save_to=tmp_path / "checkpoint", stop_after_beats=8))
    resumed = halved.fit(point, Control(resume_from=tmp_path / "checkpoint"))
    assert np.array_equal(answers(resumed), answers(fitted))
