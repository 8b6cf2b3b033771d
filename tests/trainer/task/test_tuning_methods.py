"""Every further tuning method on every architecture: it learns, repeats itself, resumes, restores, exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.trainer.task.making import ARCHITECTURES, Control

from autoglm_trainer.graph import check_graph
from autoglm_trainer.tuned import FittedTuned, LoadedTuned

Point = Mapping[str, Any]
Load = Callable[[str], LoadedTuned]

SHORT = {"epochs": 2, "batch_size": 16, "head_learning_rate": 3e-2}
POINTS: dict[str, Point] = {
    "dora": {"lora_r": 4},
    "ia3": {},
}
# Every knob of a method's own, with a value that is not the default.
KNOBS: list[tuple[str, str, Any]] = [("dora", "lora_r", 8)]
METHODS = pytest.mark.parametrize("method", POINTS)
# Each method on one architecture is enough where the architecture is no part of the question.
ON_ONE = pytest.mark.parametrize(
    ("method", "architecture"), [(method, ("bert", "glm")[index % 2]) for index, method in enumerate(POINTS)]
)


def point(method: str, **changes: Any) -> dict[str, Any]:
    return {"method": method, **SHORT, **POINTS[method], **changes}


def answers(fitted: FittedTuned, *, anew: bool = False) -> Any:
    if anew:
        fitted._logits.clear()
    return np.concatenate(fitted.logits("test"))


@dataclass
class Trained:
    """One process in which every method trained after the others, and what each answered right after its own turn."""

    task: LoadedTuned
    models: dict[str, FittedTuned]
    answered: dict[str, Any]


@pytest.fixture(scope="module")
def trained(load: Load) -> Callable[[str], Trained]:
    known: dict[str, Trained] = {}

    def of(architecture: str) -> Trained:
        if architecture not in known:
            task = load(architecture)
            points = {"full": {"method": "full", **SHORT}, **{method: point(method) for method in POINTS}}
            known[architecture] = one = Trained(task, {}, {})
            for method, chosen in points.items():
                one.models[method] = task.fit(chosen, Control())
                one.answered[method] = answers(one.models[method])
        return known[architecture]

    return of


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@METHODS
def test_every_method_learns_on_every_architecture(load: Load, architecture: str, method: str) -> None:
    control = Control()
    fitted = load(architecture).fit(point(method, epochs=8, batch_size=8), control)
    assert fitted.evaluate("test")["accuracy"] > 0.65
    assert [step for step, _ in control.reports] == list(range(1, 17))


@pytest.mark.parametrize("architecture", ["bert", "glm"])
def test_an_earlier_model_still_answers_after_later_fits_of_every_other_method(
    trained: Callable[[str], Trained], architecture: str
) -> None:
    one = trained(architecture)
    for method in one.models:
        assert np.array_equal(answers(one.models[method], anew=True), one.answered[method]), method


@ON_ONE
def test_the_same_seed_gives_the_same_model_whatever_was_trained_before_and_another_seed_another(
    load: Load, trained: Callable[[str], Trained], method: str, architecture: str
) -> None:
    fresh = load(architecture)
    assert np.array_equal(answers(fresh.fit(point(method), Control())), trained(architecture).answered[method])
    assert not np.array_equal(
        answers(fresh.fit(point(method), Control(seed=6))), trained(architecture).answered[method]
    )


@ON_ONE
def test_a_resumed_attempt_ends_exactly_as_an_uninterrupted_one(
    load: Load, trained: Callable[[str], Trained], tmp_path: Path, method: str, architecture: str
) -> None:
    with pytest.raises(InterruptedError):
        trained(architecture).task.fit(point(method), Control(save_to=tmp_path / "checkpoint", stop_after_beats=3))
    resumed = load(architecture).fit(point(method), Control(resume_from=tmp_path / "checkpoint"))
    assert np.array_equal(answers(resumed), trained(architecture).answered[method])


@ON_ONE
def test_a_saved_model_holds_what_was_trained_and_restores_to_the_same_answers(
    load: Load, trained: Callable[[str], Trained], tmp_path: Path, method: str, architecture: str
) -> None:
    one = trained(architecture)
    one.models[method].save(tmp_path)
    saved = load_file(tmp_path / "weights.safetensors")
    clean = {name: value.shape for name, value in load(architecture).base.backbone.named_parameters()}
    assert {"head.output.weight", "head.output.bias"} < saved.keys()
    assert all(torch.isfinite(value).all() for value in saved.values())
    own = {name.removeprefix("backbone.") for name in saved if name.startswith("backbone.")}
    assert not own & clean.keys() or method == "unfreeze"
    restored = load(architecture).restore({"method": method}, tmp_path)
    assert np.array_equal(answers(restored), one.answered[method])


@pytest.mark.parametrize(("method", "architecture"), [("dora", "bert"), ("ia3", "glm")])
def test_the_exported_graph_answers_as_the_trained_model(
    trained: Callable[[str], Trained], tmp_path: Path, method: str, architecture: str
) -> None:
    fitted = trained(architecture).models[method]
    described = fitted.export(tmp_path)
    assert described.inputs == ("input_ids", "attention_mask")
    examples = fitted._examples("test")
    expected = [np.asarray(torch.from_numpy(each).softmax(-1)) for each in fitted.logits("test")]
    check_graph(tmp_path, examples, expected, pad_id=fitted.task.base.pad_id, tolerance=1e-5)


@pytest.mark.parametrize(("method", "knob", "value"), KNOBS)
def test_every_knob_changes_the_model(trained: Callable[[str], Trained], method: str, knob: str, value: Any) -> None:
    one = trained("bert")
    turned = one.task.fit(point(method, **{knob: value}), Control())
    assert not np.array_equal(answers(turned), one.answered[method])
