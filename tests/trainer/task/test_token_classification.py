"""Tagging words: every gate and method learns, resumes, prunes, restores, and is served as it was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from tests.trainer.task.making import ARCHITECTURES, Control
from tests.trainer.task.tagging import LABELS, tagging, write_byte_level_glm

from autoglm_api.catalog import METHODS
from autoglm_api.manifest import Manifest
from autoglm_serving.answerer import Answerer, load_answerer
from autoglm_serving.requests import Refused
from autoglm_trainer.contract import ExportDescription
from autoglm_trainer.errors import DataError
from autoglm_trainer.model.network import LayerGatedHead, TokenGatedHead
from autoglm_trainer.tokens.examples import INFERENCE_BATCH
from autoglm_trainer.tuning.task import LoadedTuned

METRICS = {"f1", "precision", "recall", "accuracy", "loss", "latency_p95_ms"}
HEAD: dict[str, Any] = {"method": "head", "head_c": 1.0}
LORA: dict[str, Any] = {"method": "lora", "epochs": 1, "learning_rate": 1e-2, "batch_size": 8, "lora_r": 4}
FULL: dict[str, Any] = {"method": "full", "epochs": 1, "learning_rate": 1e-2, "batch_size": 8}
LAYERS, TOKENS = {**LORA, "gate": "layers"}, {**FULL, "gate": "tokens"}
GATED = pytest.mark.parametrize("point", [LAYERS, TOKENS], ids=lambda point: f"{point['method']}-{point['gate']}")

Load = Callable[[], LoadedTuned]


@pytest.fixture(scope="module")
def load(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Load:
    return tagging(model_folder("bert"), tmp_path_factory.mktemp("tagged"))


@pytest.fixture(scope="module")
def task(load: Load) -> LoadedTuned:
    return load()


def answers(fitted: Any) -> Any:
    return np.concatenate(fitted.logits("test"))


@pytest.mark.parametrize(
    ("architecture", "point"),
    list(zip(ARCHITECTURES, ({**TOKENS, "subword": "last"}, HEAD, LAYERS), strict=True)),
    ids=("bert-tokens", "glm-head", "glm4-layers"),
)
def test_every_gate_learns(
    model_folder: Callable[[str], Path], tmp_path: Path, architecture: str, point: dict[str, Any]
) -> None:
    task = tagging(model_folder(architecture), tmp_path)()
    assert task.problem.labels == LABELS
    control = Control()
    fitted = task.fit({**point, "epochs": 6, "head_learning_rate": 3e-2}, control)
    measured = fitted.evaluate("test")
    assert set(measured) == METRICS
    assert measured["f1"] > 0.8
    assert measured["latency_p95_ms"] > 0
    assert control.beats > 0
    if control.reports:
        assert control.reports[-1] == (12, fitted.evaluate("validation")["f1"])


@GATED
def test_a_gated_model_resumes_restores_and_follows_its_seed(
    load: Load, task: LoadedTuned, tmp_path: Path, point: dict[str, Any]
) -> None:
    whole = task.fit(point, Control())
    expected = answers(whole)
    with pytest.raises(InterruptedError):
        task.fit(point, Control(save_to=tmp_path / "checkpoint", stop_after_beats=2))
    resumed = task.fit(point, Control(resume_from=tmp_path / "checkpoint"))
    assert np.array_equal(answers(resumed), expected)
    folder = tmp_path / "saved"
    folder.mkdir()
    whole.save(folder)
    assert np.array_equal(answers(load().restore(point, folder)), expected)
    assert not np.array_equal(answers(task.fit(point, Control(seed=6))), expected)
    assert isinstance(whole.network.head, LayerGatedHead if point["gate"] == "layers" else TokenGatedHead)


def test_a_pruned_trial_leaves_the_next_unharmed_and_the_frozen_head_has_no_gate(load: Load, task: LoadedTuned) -> None:
    with pytest.raises(optuna.TrialPruned):
        task.fit(TOKENS, Control(prune_at=1))
    after, fresh = (each.fit({**HEAD, **gate}, Control()) for each, gate in ((task, {"gate": "layers"}), (load(), {})))
    assert np.array_equal(answers(after), answers(fresh))


@pytest.mark.parametrize(
    ("knob", "value"), [("entity_weight", 5.0), ("gate", "layers"), ("gate", "tokens"), ("max_length", 5)]
)
def test_every_knob_changes_the_model(task: LoadedTuned, knob: str, value: Any) -> None:
    plain, turned = (task.fit({**LORA, **change}, Control()).predict("test") for change in ({}, {knob: value}))
    assert not np.array_equal(plain.probabilities, turned.probabilities)


@pytest.mark.parametrize("method", [name for name, known in METHODS.items() if known.gradient])
def test_every_method_trains_behind_a_gate_over_the_layers(task: LoadedTuned, method: str) -> None:
    fitted = task.fit({"method": method, "gate": "layers", "epochs": 1, "batch_size": 32}, Control())
    mixture = fitted.weights["head.mixture"]
    assert mixture.isfinite().all()
    assert mixture.tolist() != [0.0, 2.0]
    assert np.isfinite(fitted.evaluate("validation")["loss"])


def test_a_gate_over_the_layers_counts_in_the_estimate_of_memory(task: LoadedTuned) -> None:
    def needed(gate: str, method: str = "lora") -> int:
        estimate = task.estimate({**LORA, "method": method, "batch_size": INFERENCE_BATCH, "gate": gate})
        assert estimate is not None
        return estimate.needed

    longest = max(map(len, task.problem.examples("train", task.problem.settings(LORA)).tokens))
    # Embeddings and one layer: their states, the same normed, and the same weighed; 32 numbers of 4 bytes a token.
    assert needed("layers") - needed("none") == pytest.approx(1.1 * 3 * 2 * INFERENCE_BATCH * longest * 32 * 4, abs=2)
    assert needed("tokens") == needed("none")
    assert needed("layers", "head") == needed("none", "head"), "the frozen head has no gate"


def test_weighted_entities_are_found_more_often(task: LoadedTuned) -> None:
    recall = [
        task.fit({**HEAD, "head_c": 1e-3, "entity_weight": weight}, Control()).predict("test").measure()["recall"]
        for weight in (0.05, 20.0)
    ]
    assert recall[0] < recall[1]


def test_another_subword_answers_for_a_word_of_several(byte_level: LoadedTuned) -> None:
    first, last = (
        byte_level.problem.examples("train", byte_level.problem.settings({"subword": s})) for s in ("first", "last")
    )
    assert first.tokens == last.tokens
    assert first.targets == last.targets
    assert first.positions != last.positions


def test_the_baseline_knows_words_by_their_look(task: LoadedTuned) -> None:
    found = task.baseline("test")
    assert found.measure()["f1"] > 0.8
    assert task.baseline_name == "word shapes"


def test_a_sentence_of_which_the_tokenizer_keeps_nothing_is_refused(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"tokens": ["red"], "tags": ["B-colour"]}\n{"tokens": ["\\u200b"], "tags": ["O"]}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl, line 2: the model's tokenizer keeps nothing of"):
        tagging(model_folder("bert"), tmp_path, validation={"source": f"file://{bad}"})()


# --- the exported model in the server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> LoadedTuned:
    folder = tmp_path_factory.mktemp("bytes")
    return tagging(write_byte_level_glm(folder / "model"), folder)()


@pytest.fixture(scope="module")
def served(byte_level: LoadedTuned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Answerer]:
    """A model of short windows, a gate over the layers, and words of several tokens; and its answerer."""
    folder = tmp_path_factory.mktemp("served")
    point = {**LAYERS, "epochs": 8, "max_length": 10, "subword": "last", "head_learning_rate": 3e-2}
    fitted = byte_level.fit(point, Control())
    return fitted, answerer_of(folder, fitted.export(folder))


def answerer_of(folder: Path, described: ExportDescription) -> Answerer:
    manifest = Manifest.model_construct(
        task="token-classification",
        labels=described.labels,
        max_length=described.max_length,
        inputs=described.inputs,
        settings=dict(described.settings),
    )
    return load_answerer(folder, manifest, threads=1)


def ask(answerer: Answerer, item: object) -> Any:
    return answerer.predict([answerer.parse(item, "data")])[0]


def test_the_server_tags_words_as_the_trainer_does_also_in_several_windows(served: tuple[Any, Answerer]) -> None:
    fitted, answerer = served
    trained = fitted.predict("test")
    assert max(map(len, fitted._examples("test").tokens)) == 10
    assert len(fitted._examples("test")) > len(trained)
    items = [answerer.parse({"tokens": list(sentence.words)}, "data") for sentence in trained.sentences]
    found = answerer.predict(items)
    assert [answer["tags"] for answer in found] == list(trained.answers)
    word = 0
    for answer in found:
        for entity in answer["entities"]:
            words = range(entity["start"], entity["end"])
            tags = [trained.labels.index(answer["tags"][each]) for each in words]
            own = [trained.probabilities[word + each, tag] for each, tag in zip(words, tags, strict=True)]
            assert entity["score"] == pytest.approx(min(own), abs=1e-4)
        word += len(answer["tags"])
    assert any(answer["entities"] for answer in found)


def test_entities_of_a_text_stand_where_their_offsets_say(served: tuple[Any, Answerer]) -> None:
    _, answerer = served
    text = "  is the grass pale green,\nso very red and deep? 天空"
    answer = ask(answerer, text)
    assert " ".join(answer["tokens"]) == "is the grass pale green , so very red and deep ? 天 空"
    assert len(answer["tags"]) == len(answer["tokens"])
    assert answer["tags"] == ask(answerer, {"tokens": answer["tokens"]})["tags"]
    assert answer["entities"]
    for entity in answer["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert set(entity) == {"type", "text", "start", "end", "score"}


def test_a_long_text_is_read_to_its_end(served: tuple[Any, Answerer]) -> None:
    _, answerer = served
    text = "the red sky " * 60
    assert ask(answerer, text)["entities"][-1]["end"] > len(text) - 12
    assert answerer.samples()


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        (3, "BadItem", "data must be a text or {'tokens': […]}, got a number"),
        ({}, "BadItem", "data.tokens must be a list of words, got null"),
        ({"tokens": "red sky"}, "BadItem", "got a text"),
        ({"tokens": ["red"], "tags": ["O"]}, "BadItem", "unknown field 'tags'"),
        ({"tokens": []}, "NoData", "data.tokens is empty"),
        ({"tokens": ["red", " "]}, "NoData", "data.tokens[1] is empty"),
        ({"tokens": ["red", None]}, "NotText", "data.tokens[1] must be a text, got null"),
        ({"tokens": ["a"] * 10_001}, "TextTooLong", "10001 words; at most 10000"),
        ("a " * 10_001, "TextTooLong", "more than 10000 words"),
        (" ", "NoData", "data is empty"),
    ],
)
def test_an_item_that_cannot_be_tagged_is_refused(
    served: tuple[Any, Answerer], item: object, code: str, said: str
) -> None:
    with pytest.raises(Refused) as caught:
        served[1].parse(item, "data")
    assert (caught.value.status, caught.value.code) == (422, code)
    assert said in caught.value.message
