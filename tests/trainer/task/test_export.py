"""From the trials of a study to files that answer as the trained model does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from safetensors.torch import load_file
from tests.trainer.task.making import Control, colour_rows, make_places, make_run, write_rows
from transformers import AutoConfig, AutoModel
from typing_extensions import override

from autoglm_api.attempts import Export, Limits, TrialAttribute
from autoglm_api.locations import Location
from autoglm_api.manifest import Manifest, digest
from autoglm_api.run import Run
from autoglm_serving.answerer import load_answerer
from autoglm_store.ledger import logical_trials
from autoglm_store.limits import read_limits, write_limits
from autoglm_store.sampling import suggest
from autoglm_trainer.contenders import Made, contenders
from autoglm_trainer.errors import ExportError, NothingToExport
from autoglm_trainer.export import export_run, restore_trial
from autoglm_trainer.model.graph import check_graph
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned
from autoglm_trainer.work.artifacts import Artifacts

ATTACK = 'the red <script>alert("red")</script> $\\frac{ sky'
POINTS: list[dict[str, Any]] = [
    {"method": "head", "head_c": 1e-3, "pooling": "mean"},
    {"method": "head", "head_c": 1.0, "pooling": "last"},
    {"method": "lora", "pooling": "mean"},
]
PARAMETERS = [
    {"name": "method", "categorical": {"choices": ["head", "lora"]}},
    {"name": "head_c", "float": {"min": 1e-4, "max": 10, "log": True}, "when": {"parameter": "method", "in": ["head"]}},
    {"name": "pooling", "categorical": {"choices": ["mean", "last"]}},
]


class Exported(NamedTuple):
    study: optuna.Study
    run: Run
    export: Export
    folder: Path
    task: LoadedTuned


def served(folder: Path, manifest: Manifest, texts: Sequence[str]) -> Any:
    """Probabilities (texts, labels) as the model server answers them."""
    answerer = load_answerer(folder, manifest, threads=1)
    answers = answerer.predict([answerer.parse(text, "data") for text in texts])
    return np.array([[answer["scores"][label] for label in manifest.labels] for answer in answers])


def store(root: Path) -> Artifacts:
    return Artifacts(f"file://{root}/store", Location("file", f"{root}/store"))


def prepare(model: Path, root: Path) -> tuple[optuna.Study, Run, LoadedTuned]:
    """A study with finished trials of every kind, their weights where a worker puts them."""
    hostile = [{"text": ATTACK, "label": "blue"}, {"text": "sky </style> `x` | y", "label": "green"}]
    test = write_rows(root / "test.jsonl", [*colour_rows(30, start=100), *hostile])
    data = {"test": {"source": test}, "cleaning": "Standard"}
    blank = {"text": " \t", "label": "red</td>"}
    train = write_rows(root / "train.jsonl", [*colour_rows(60), blank])
    run = make_run(f"file://{model}", train, artifacts=f"file://{root}/store", data=data, parameters=PARAMETERS)
    task = get_task(run.task).load(run, make_places(root))
    assert isinstance(task, LoadedTuned)
    study = optuna.create_study(direction="maximize")
    write_limits(study, Limits(max=5, max_failed=5, retries=0))
    for point in POINTS:
        study.enqueue_trial(point)
        trial = study.ask()
        fitted = task.fit(suggest(trial, run.parameters), Control())
        weights = root / f"weights-{trial.number}"
        weights.mkdir()
        fitted.save(weights)
        store(root).upload(weights, f"trials/{trial.number}")
        trial.set_user_attr(TrialAttribute.WEIGHTS, f"trials/{trial.number}")
        measured = dict(fitted.evaluate("validation"))
        trial.set_user_attr(TrialAttribute.METRICS, measured)
        trial.set_user_attr(TrialAttribute.SIZES, fitted.sizes)
        study.tell(trial, measured["accuracy"])
    for state, message in ((TrialState.PRUNED, ""), (TrialState.FAIL, "<b>out of luck</b>")):
        trial = study.ask()
        trial.report(0.2, 1)
        trial.set_user_attr(TrialAttribute.MESSAGE, message)
        study.tell(trial, state=state)
    return study, run, task


@pytest.fixture(scope="module")
def exported(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    root = tmp_path_factory.mktemp("export")
    study, run, task = prepare(model_folder("glm"), root)
    export = export_run(study, run, make_places(root), store(root))
    return Exported(study, run, export, root / "store" / "export", task)


@pytest.fixture(scope="module")
def manifest(exported: Exported) -> Manifest:
    return Manifest.model_validate_json((exported.folder / "manifest.json").read_bytes())


def test_the_manifest_names_every_file_with_its_digest(exported: Exported, manifest: Manifest) -> None:
    written = {path.name for path in exported.folder.iterdir()}
    assert written - {"manifest.json"} == {file.path for file in manifest.files}
    assert {"model.onnx", "model.safetensors", "tokenizer.json", "README.md", "report.html"} <= written
    for file in manifest.files:
        content = (exported.folder / file.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size_bytes)
    assert exported.export.digest == digest((exported.folder / "manifest.json").read_bytes())
    assert exported.export.uri == f"{exported.run.artifacts_uri}/export"


def test_the_best_trial_is_exported_and_judged_on_the_test_rows(exported: Exported, manifest: Manifest) -> None:
    best = exported.study.best_trial
    assert manifest.provenance.trial == exported.export.trial == best.number
    assert manifest.validation["accuracy"] == best.value
    assert manifest.parameters.items() >= best.params.items()
    assert manifest.labels == ("blue", "green", "red")
    assert manifest.test is not None
    assert exported.export.metrics == manifest.test
    assert exported.export.test_digest == manifest.data.test == exported.task.digests.test


def test_the_comparison_can_be_read_by_programs(exported: Exported, manifest: Manifest) -> None:
    told = json.loads((exported.folder / "comparison.json").read_text())
    assert (told["judgedOn"], told["metric"], told["direction"]) == ("test", "accuracy", "Maximize")
    winner, *others = told["contenders"]
    assert winner["metrics"] == pytest.approx(manifest.test)
    assert winner["parameters"].items() >= exported.study.best_trial.params.items()
    assert others[-1]["name"].startswith("baseline")
    for contender in told["contenders"]:
        low, high = contender["intervals"]["accuracy"]
        assert low <= contender["metrics"]["accuracy"] <= high
        assert contender["seconds"] is None or contender["seconds"] >= 0
    assert others[-1]["seconds"] is not None
    for other in others:
        ahead = winner["metrics"]["accuracy"] - other["metrics"]["accuracy"]
        assert other["winnerAhead"]["by"] == pytest.approx(ahead)
        assert other["winnerAhead"]["interval"] == sorted(other["winnerAhead"]["interval"])
    assert all(set(table) == {"title", "header", "rows"} for table in told["tables"])


def test_the_default_configuration_is_the_trial_that_was_made_at_it(exported: Exported, tmp_path: Path) -> None:
    told = json.loads((exported.folder / "comparison.json").read_text())
    (default,) = (each for each in told["contenders"] if each["name"] == "default configuration")
    trial = exported.study.get_trials()[2]
    store(exported.folder.parent.parent).download(trial.user_attrs[TrialAttribute.WEIGHTS], tmp_path)
    made = exported.task.restore(trial.params, tmp_path).predict("test").measure()
    assert default["metrics"]["loss"] == pytest.approx(made["loss"], abs=1e-9)


def test_the_files_alone_answer_as_the_trained_model(exported: Exported, manifest: Manifest, tmp_path: Path) -> None:
    store(exported.folder.parent.parent).download(f"trials/{exported.export.trial}", tmp_path)
    trained = exported.task.restore(exported.study.best_params, tmp_path).predict("test")
    answers = served(exported.folder, manifest, trained.texts)
    assert np.abs(answers - trained.probabilities).max() < 1e-5
    assert manifest.test is not None
    assert (answers.argmax(1) == trained.truth).mean() == pytest.approx(manifest.test["accuracy"])


def test_the_merged_weights_give_the_same_answers_in_transformers(exported: Exported, manifest: Manifest) -> None:
    weights = load_file(exported.folder / "model.safetensors")
    backbone = AutoModel.from_config(AutoConfig.from_pretrained(exported.folder)).eval()
    backbone.load_state_dict(
        {name.removeprefix("backbone."): value for name, value in weights.items() if name.startswith("backbone.")}
    )
    text = "天空 蓝 色"
    ids = torch.tensor([exported.task.base.tokenizer_for(64).encode(text).ids])
    with torch.no_grad():
        hidden = backbone(input_ids=ids).last_hidden_state[0]  # (tokens, hidden)
        pooled = hidden[-1] if exported.study.best_params["pooling"] == "last" else hidden.mean(0)
        logits = pooled @ weights["head.output.weight"].T + weights["head.output.bias"]
    assert np.abs(logits.softmax(-1).numpy() - served(exported.folder, manifest, [text])).max() < 1e-5


@pytest.mark.parametrize(("architecture", "method"), [("bert", "full"), ("glm4", "lora")])
def test_adapters_and_tuned_weights_are_exported_with_padding_and_truncation(
    load: Callable[[str], LoadedTuned], tmp_path: Path, architecture: str, method: str
) -> None:
    task = load(architecture)
    point = {"method": method, "epochs": 1, "learning_rate": 1e-2, "max_length": 8, "pooling": "mean"}
    fitted = task.fit(point, Control())
    described = fitted.export(tmp_path)
    assert (described.max_length, described.inputs) == (8, ("input_ids", "attention_mask"))
    trained = fitted.predict("test")
    manifest = Manifest.model_construct(
        task="text-classification", labels=described.labels, max_length=8, inputs=described.inputs
    )
    answers = served(tmp_path, manifest, trained.texts)
    assert np.abs(answers - trained.probabilities).max() < 1e-5
    wrong = list(np.roll(answers, 1, axis=1)[:, None, :])
    with pytest.raises(ExportError, match=r"answers differently.*allowed 0\.0001"):
        check_graph(tmp_path, fitted._examples("test"), wrong, pad_id=0)


def test_a_trial_whose_weights_are_gone_is_trained_again_from_its_seed(exported: Exported, tmp_path: Path) -> None:
    task, run, artifacts = exported.task, exported.run, store(tmp_path)
    trial = exported.study.get_trials()[2]
    del trial.user_attrs[TrialAttribute.WEIGHTS]
    first, again = (restore_trial(task, run, trial, artifacts, tmp_path).predict("test") for _ in range(2))
    assert trial.params["method"] == "lora"
    assert np.array_equal(first.probabilities, again.probabilities)


def test_a_default_configuration_whose_weights_are_gone_costs_no_export(exported: Exported, tmp_path: Path) -> None:
    task, run, winner = exported.task, exported.run, exported.study.best_trial
    fitted = restore_trial(task, run, winner, store(exported.folder.parent.parent), tmp_path / "winner")

    def restore(trial: optuna.trial.FrozenTrial) -> Any:
        return restore_trial(task, run, trial, store(tmp_path / "emptied"), tmp_path / "default")

    trials = logical_trials(exported.study.get_trials(), read_limits(exported.study))
    found, missing = contenders(task, run, winner, Made(fitted), "test", trials, restore, gpus=0)
    assert [each.name.split(" ")[0] for each in found] == ["winner", "default", "baseline"]
    assert not missing


def test_nothing_feasible_is_nothing_to_export(exported: Exported, tmp_path: Path) -> None:
    empty = optuna.create_study()
    with pytest.raises(NothingToExport, match="loosen the constraints"):
        export_run(empty, exported.run, make_places(tmp_path), store(tmp_path))


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(exported: Exported) -> Page:
    page = Page()
    page.feed((exported.folder / "report.html").read_text())
    return page


def test_the_report_needs_nothing_from_anywhere(exported: Exported, page: Page) -> None:
    assert not re.search(r"https?://|//[a-z]+\.", (exported.folder / "report.html").read_text())
    assert not {"script", "link", "img", "iframe", "base"} & {tag for tag, _ in page.tags}
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("href", "src")]
    assert all((link or "").startswith("#") for link in links)


def test_user_texts_are_shown_and_never_run(page: Page) -> None:
    assert ATTACK in page.text
    assert "<b>out of luck</b>" in page.text


def test_the_report_shows_winner_default_and_baseline_with_intervals(
    exported: Exported, manifest: Manifest, page: Page
) -> None:
    assert manifest.test is not None
    assert f"accuracy {manifest.test['accuracy']:.3f} on test rows" in page.text
    assert "What cleaning did to the training rows" in page.text
    assert "left out: 'text' is empty" in page.text
    assert "train.jsonl, line 61" in page.text
    for shown in (
        "winner",
        "default configuration",
        "baseline",
        "95 % interval",
        "Where it is wrong",
        "Precision and recall",
    ):
        assert shown in page.text
    for digest_shown in (manifest.data.train, manifest.data.validation, manifest.data.test):
        assert str(digest_shown) in page.text
    assert f"training of the winner {manifest.seed}" in page.text
    sizes = exported.study.best_trial.user_attrs[TrialAttribute.SIZES]
    assert f"{sizes['trained']:,} trained of {sizes['total']:,}" in page.text
    assert manifest.versions["torch"] in page.text
    assert sum(tag == "svg" for tag, _ in page.tags) >= 3
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_the_report_lists_every_trial_and_how_it_ended(page: Page) -> None:
    for state in ("complete", "pruned", "failed"):
        assert state in page.text


def test_the_model_card_keeps_user_texts_in_their_place(exported: Exported, manifest: Manifest) -> None:
    card = (exported.folder / "README.md").read_text()
    assert card.startswith('---\npipeline_tag: "text-classification"\n')
    assert card.count("\n---\n") == 1
    assert "| winner |" in card
    assert "`blue`, `green`, `red`" in card
