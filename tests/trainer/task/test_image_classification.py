"""Networks on pictures: what each method trains, from which network a study begins, and what its report compares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from tests.trainer.task.drawing import SIDE, picture_rows, write_backbone, write_folder
from tests.trainer.task.making import Control, make_places, make_run, write_rows

from autoglm_trainer.contenders import Made, contenders
from autoglm_trainer.contract import Table
from autoglm_trainer.errors import SpecError
from autoglm_trainer.metrics.episodes import draw_episodes, mean_interval
from autoglm_trainer.pictures.augmentation import Augmentation
from autoglm_trainer.tasks import get_task

Load = Callable[..., Any]
TRAINED = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and test rows, and a network of each kind."""
    place = tmp_path_factory.mktemp("images")
    write_rows(place / "train.jsonl", picture_rows(36))
    write_rows(place / "test.jsonl", picture_rows(18, start=100))
    for architecture in ("resnet", "vit"):
        write_backbone(place / architecture, architecture)
    return place


@pytest.fixture(scope="module")
def load(folder: Path) -> Load:
    def loaded(model: str | None = "resnet", **changes: Any) -> Any:
        run = make_run(
            model and f"file://{folder / model}",
            (folder / "train.jsonl").as_uri(),
            task="image-classification",
            data={"test": {"source": (folder / "test.jsonl").as_uri()}},
            **changes,
        )
        return get_task(run.task).load(run, make_places(folder))

    return loaded


def learned(fitted: Any) -> set[str]:
    return {name.removeprefix("backbone.") for name in fitted.weights if name.startswith("backbone.")}


@pytest.mark.parametrize(("model", "top"), [("resnet", "encoder.stages.1."), ("vit", ("layers.1.", "layernorm."))])
def test_unfreezing_trains_the_top_stage_or_layer_and_what_comes_after(load: Load, model: str, top: Any) -> None:
    task = load(model)
    fitted = task.fit({"method": "unfreeze", "unfrozen_layers": 1, **TRAINED}, Control())
    assert learned(fitted)
    assert all(name.startswith(top) for name in learned(fitted))
    assert ("resnet" in model) == any(name.endswith("running_mean") for name in learned(fitted))


def test_running_statistics_are_the_trials_own_and_the_next_trial_begins_clean(load: Load) -> None:
    task = load()
    before = {name: value.clone() for name, value in task.base.clean().state_dict().items()}
    full = task.fit({"method": "full", **TRAINED}, Control())
    answers = full.predict("test").probabilities
    head = task.fit({"method": "head"}, Control())
    now = task.base.backbone.state_dict()
    assert all(torch.equal(now[name], before[name]) for name in now if not name.endswith("num_batches_tracked"))
    assert head.predict("test").measure() == task.fit({"method": "head"}, Control(seed=9)).predict("test").measure()
    full._logits.clear()
    assert np.allclose(full.predict("test").probabilities, answers, atol=1e-6)


def test_from_scratch_begins_with_the_seed_alone_and_leaves_the_pretrained_network(load: Load) -> None:
    task = load()
    point = {"method": "scratch", **TRAINED}
    one, same, other = (task.fit(point, Control(seed=seed)).weights for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert task.rivals({"method": "head", "image_size": 0})["same network from scratch"]["method"] == "scratch"
    assert task.rivals(point) == {}


def test_the_report_compares_the_winner_with_the_same_network_from_scratch(load: Load, folder: Path) -> None:
    task = load()
    point = {"method": "full", **TRAINED}
    names = ("resnet", "train.jsonl")
    run = make_run(*((folder / name).as_uri() for name in names), task="image-classification")
    domains = {name: CategoricalDistribution([value]) for name, value in point.items()}
    winner = optuna.trial.create_trial(params=point, distributions=domains, value=0.5)
    fitted = task.fit(point, Control())
    found, missing = contenders(task, run, winner, Made(fitted), "test", (), restore=task.fit, gpus=0)
    assert missing == []
    assert [each.name for each in found] == [
        "winner",
        "default configuration",
        "same network from scratch",
        "baseline (logistic regression on pixels)",
    ]
    assert found[2].parameters["method"] == "scratch"
    assert found[0].metrics["accuracy"] == fitted.evaluate("test")["accuracy"]


def test_without_a_model_a_small_network_is_trained_and_its_export_is_the_next_studys_model(
    load: Load, folder: Path, tmp_path: Path
) -> None:
    task = load(None)
    assert task.problem.declaration.methods == ("scratch",)
    fitted = task.fit({**TRAINED, "image_size": 32}, Control())
    described = fitted.export(tmp_path)
    assert described.settings == {"image_size": 32, "channels": 3, "fit": "squeeze"}
    run = make_run(tmp_path.as_uri(), (folder / "train.jsonl").as_uri(), task="image-classification")
    again = get_task(run.task).load(run, make_places(folder))
    assert again.base.size == 32
    exported, loaded = fitted.network.backbone.state_dict(), again.base.backbone.state_dict()
    assert exported.keys() == loaded.keys()
    assert all(torch.equal(exported[name], loaded[name]) for name in exported)


def test_what_the_network_or_its_folder_cannot_do_is_refused(load: Load, folder: Path, tmp_path: Path) -> None:
    sizes = [{"name": "image_size", "categorical": {"choices": [SIDE, 36]}}]
    with pytest.raises(SpecError, match=r"image_size: ViTModel cannot take pictures of 36 x 36 .*; it was made for 24"):
        load("vit", parameters=sizes)
    assert load("resnet", parameters=sizes)
    half = write_backbone(tmp_path / "half", "resnet")
    (half / "config.json").write_text((half / "config.json").read_text().replace('"basic"', '"bottleneck"'))
    with pytest.raises(SpecError, match=r"lacks weights of ResNetModel|the weights cannot be loaded"):
        load(half)


def test_the_report_shows_mistakes_as_pictures_labels_and_few_examples(load: Load) -> None:
    task = load()
    fitted = task.fit({"method": "full", **TRAINED}, Control())
    predictions = fitted.predict("test")
    assert all(mistake.picture.startswith("data:image/png;base64,") for mistake in predictions.mistakes(5))
    titles = [section.title for section in predictions.sections()]
    assert "Label by label" in titles
    assert "How far few examples take it" not in titles, "three labels make no episode of five"


def test_few_examples_are_tried_with_each_kind_of_features(tmp_path: Path, folder: Path) -> None:
    shapes = [f"{shape}-{number}" for shape in ("bar", "disc", "ring") for number in range(2)]
    train = write_folder(tmp_path / "train", 48, shapes=shapes)
    data = {"validation": {"fraction": 0.5}}
    run = make_run(f"file://{folder / 'resnet'}", train, task="image-classification", data=data)
    task = get_task(run.task).load(run, make_places(tmp_path))
    for method, rows in (("head", 3), ("full", 4)):
        fitted = task.fit({"method": method, **TRAINED}, Control())
        answers = fitted.predict("validation").probabilities
        (table,) = [each for each in fitted.predict("validation").sections() if "few examples" in each.title]
        assert isinstance(table, Table)
        assert table.header[1:] == ("5 classes, 1 of each",)
        assert len(table.rows) == rows
        fitted._logits.clear()
        assert np.allclose(fitted.predict("validation").probabilities, answers, atol=1e-6)


def test_episodes_tell_good_features_from_bad_ones() -> None:
    truth = np.repeat(np.arange(25), 8)
    rows = np.random.default_rng(0).normal(size=(len(truth), 32))
    good = np.eye(32)[truth] * 3 + 0.1 * rows
    sizes = []
    for episodes in draw_episodes(truth, seed=1, episodes=40):
        sizes.append((episodes.ways, episodes.shots))
        clear, chance = (mean_interval(episodes.accuracy(features)) for features in (good, rows))
        assert clear[0] > 0.99
        assert abs(chance[0] - 1 / episodes.ways) < 0.1
        assert chance[1] > clear[1] >= 0
        both = np.concatenate([episodes.support, episodes.asked], axis=2)
        assert all(len(set(one)) == one.size for one in both.reshape(len(both), -1).tolist() for one in [np.array(one)])
    assert sizes == [(5, 1), (5, 5), (20, 1), (20, 5)]


def test_augmentation_moves_pictures_and_strength_nothing_leaves_them() -> None:
    pictures = torch.zeros(8, 1, 20, 20)
    pictures[:, :, 8:12, 3:7] = 200
    still = Augmentation("moves", 0.0)(pictures)
    assert torch.allclose(still, pictures, atol=1e-2)
    torch.manual_seed(1)
    moved = Augmentation("moves", 0.5)(pictures)
    assert len({tuple(each.flatten().tolist()) for each in moved}) == 8
    assert moved.amax() > 100
    sides = Augmentation("mirrors", 0.0)(pictures)[:, 0, 10].argmax(1) > 9
    assert 0 < sides.sum() < 8
    lit = Augmentation("photo", 1.0)(pictures)
    assert lit.amin() >= 0
    assert lit.amax() <= 255
