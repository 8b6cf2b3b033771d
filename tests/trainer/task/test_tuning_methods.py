"""Every further tuning method on every architecture: it learns, repeats itself, resumes, restores, exports."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.trainer.task.making import ARCHITECTURES, Control

from autoglm_trainer.errors import SpecError
from autoglm_trainer.model.graph import check_graph
from autoglm_trainer.model.network import encode
from autoglm_trainer.tokens.examples import collate
from autoglm_trainer.tuning.task import FittedTuned, LoadedTuned

Point = Mapping[str, Any]
Load = Callable[[str], LoadedTuned]

SHORT = {"epochs": 2, "batch_size": 16, "head_learning_rate": 3e-2}
POINTS: dict[str, Point] = {
    "dora": {"lora_r": 4},
    "qlora": {"lora_r": 4},
    "ia3": {},
    "prompt-tuning": {"prompt_length": 5},
    "p-tuning": {"prompt_length": 5, "prompt_encoder_size": 8},
    "prefix": {"prompt_length": 5},
    "prompt-fusion": {"prompt_length": 5, "fused_prompts": 3},
    "unfreeze": {"unfrozen_layers": 1},
}
SOFT = ("prompt-tuning", "p-tuning", "prefix", "prompt-fusion")
# What is traced in another way than the backbone alone.
EXPORTS = [
    ("prompt-tuning", "glm"),
    ("p-tuning", "bert"),
    ("prefix", "bert"),
    ("prefix", "glm"),
    ("prompt-fusion", "bert"),
]
# Every knob of a method's own, with a value that is not the default.
KNOBS: list[tuple[str, str, Any]] = [
    ("dora", "lora_r", 8),
    *((method, knob, value) for method in SOFT for knob, value in (("prompt_length", 6), ("prompt_init", "text"))),
    ("p-tuning", "prompt_encoder", "lstm"),
    ("p-tuning", "prompt_encoder_size", 4),
    ("prompt-fusion", "fused_prompts", 2),
]
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
    fitted = load(architecture).fit(point(method, epochs=12, batch_size=8, head_learning_rate=5e-2), control)
    assert fitted.evaluate("test")["accuracy"] > 0.65
    assert [step for step, _ in control.reports] == list(range(1, 25))


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


@ON_ONE
def test_what_is_exported_answers_as_the_trained_model(
    trained: Callable[[str], Trained], method: str, architecture: str
) -> None:
    one = trained(architecture)
    fitted = one.models[method]
    batch = collate(fitted._examples("test"), pad_id=one.task.base.pad_id, device=one.task.base.device)
    with torch.no_grad():
        merged = fitted._merged()(batch.input_ids, batch.attention_mask)
    assert np.abs(merged.numpy() - one.answered[method]).max() < 1e-5
    assert np.array_equal(answers(fitted, anew=True), one.answered[method]), "the export has left the model as it was"


@pytest.mark.parametrize(("method", "architecture"), EXPORTS)
def test_the_exported_graph_answers_as_the_trained_model(
    trained: Callable[[str], Trained], tmp_path: Path, method: str, architecture: str
) -> None:
    fitted = trained(architecture).models[method]
    described = fitted.export(tmp_path)
    assert described.inputs == ("input_ids", "attention_mask")
    examples = fitted._examples("test")
    expected = [np.asarray(torch.from_numpy(each).softmax(-1)) for each in fitted.logits("test")]
    check_graph(tmp_path, examples, expected, pad_id=fitted.task.base.pad_id, tolerance=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("method", SOFT)
def test_a_text_alone_and_in_a_padded_batch_has_the_same_logits(
    load: Load, method: str, pooling: str, architecture: str
) -> None:
    task = load(architecture)
    fitted = task.fit(point(method, epochs=1, pooling=pooling), Control())
    examples = fitted._examples("test")
    assert len(set(map(len, examples.tokens))) > 3, "the batch has padding"
    network = fitted.network.eval()
    with torch.no_grad():
        whole = collate(examples, pad_id=task.base.pad_id, device=task.base.device)
        together = network(whole.input_ids, whole.attention_mask)
        for row in range(len(examples)):
            single = collate(examples.take([row]), pad_id=task.base.pad_id, device=task.base.device)
            assert torch.allclose(network(single.input_ids, single.attention_mask)[0], together[row], atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "glm"])
@pytest.mark.parametrize("method", SOFT)
def test_virtual_tokens_cost_no_real_ones(load: Load, method: str, architecture: str) -> None:
    task = load(architecture)
    fitted = task.fit(point(method, epochs=1, max_length=3), Control())
    assert max(map(len, fitted._examples("test").tokens)) == 3
    longest = torch.ones((1, task.base.max_tokens), dtype=torch.int64)
    hidden = encode(fitted.network.eval().backbone, longest, longest)
    assert hidden.shape == (1, task.base.max_tokens, task.base.hidden_size)
    every = encode(fitted.network.backbone, longest, longest, layers=True)
    assert every.shape == (2, *hidden.shape), "the embeddings and one layer"
    assert torch.equal(every[-1], hidden)


@pytest.mark.parametrize("method", SOFT)
def test_a_model_that_cannot_take_a_prompt_is_refused_by_name(
    load: Load, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    task = load("bert")
    monkeypatch.setattr(task.base.backbone, "forward", lambda input_ids, attention_mask: (input_ids, attention_mask))
    with pytest.raises(SpecError, match=rf"{method}: BertModel takes no .*position_ids"):
        task.fit(point(method), Control())


def test_a_prompt_text_of_which_nothing_is_left_is_refused(load: Load) -> None:
    with pytest.raises(SpecError, match=r"prompt_text.*keeps nothing of"):
        load("bert").fit(point("prompt-tuning", prompt_init="text", prompt_text="\u200b"), Control())


@pytest.mark.parametrize(("method", "knob", "value"), KNOBS)
def test_every_knob_changes_the_model(trained: Callable[[str], Trained], method: str, knob: str, value: Any) -> None:
    one = trained("bert")
    turned = one.task.fit(point(method, **{knob: value}), Control())
    assert not np.array_equal(answers(turned), one.answered[method])


def two_layers(load: Load) -> LoadedTuned:
    """The tiny BERT with a second layer, a copy of its first."""
    task = load("bert")
    task.base.backbone.encoder.layer.append(copy.deepcopy(task.base.backbone.encoder.layer[0]))
    task.base.backbone.config.num_hidden_layers = 2
    return task


@pytest.mark.parametrize(("layers", "trained_layers"), [(1, {1}), (2, {0, 1}), (9, {0, 1})])
def test_unfreezing_trains_and_copies_the_top_layers_alone(load: Load, layers: int, trained_layers: set[int]) -> None:
    task = two_layers(load)
    before = {name: value.clone() for name, value in task.base.backbone.named_parameters()}
    fitted = task.fit(point("unfreeze", unfrozen_layers=layers), Control())
    own = {name.removeprefix("backbone.") for name in fitted.weights if name.startswith("backbone.")}
    assert {int(name.split(".")[2]) for name in own} == trained_layers
    names = {parameter: name for name, parameter in task.base.backbone.named_parameters()}
    assert {names[parameter] for parameter in task.base._pristine} == own
    changed = {name for name, value in task.base.backbone.named_parameters() if not torch.equal(value, before[name])}
    assert changed <= own
    assert all(torch.equal(value, before[name]) for name, value in task.base.clean().named_parameters())


def test_layer_decay_makes_lower_layers_smaller_steps(load: Load) -> None:
    task = two_layers(load)

    def moved(decay: float) -> tuple[float, ...]:
        before = {name: value.clone() for name, value in task.base.clean().named_parameters()}
        fitted = task.fit(point("unfreeze", unfrozen_layers=2, layer_decay=decay), Control())
        names = [f"encoder.layer.{layer}.intermediate.dense.weight" for layer in (0, 1)]
        return tuple(float((fitted.weights[f"backbone.{name}"] - before[name]).abs().mean()) for name in names)

    (low, _), (slow, _) = moved(1.0), moved(0.1)
    assert slow < low / 2


def test_fused_prompts_are_weighed_by_the_text_and_not_by_its_padding(load: Load) -> None:
    network = load("bert").fit(point("prompt-fusion"), Control()).network.eval()
    embedded = torch.randn(2, 4, 32)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        weights = network.backbone.prompt.attention(embedded, mask)
        alone = network.backbone.prompt.attention(embedded[:1, :2], mask[:1, :2])
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert torch.allclose(weights[0], alone[0], atol=1e-6)
    assert not torch.allclose(weights[0], weights[1])


@METHODS
def test_a_model_knows_how_many_parameters_were_trained(trained: Callable[[str], Trained], method: str) -> None:
    sizes, full = (trained("bert").models[name].sizes for name in (method, "full"))
    assert full["trained"] == full["total"] <= sizes["total"]
    assert 99 < sizes["trained"] < full["trained"], "more than the head of three classes"
