"""What a pretrained network is worth where pictures are few: transfer against training from scratch, and episodes.

A study without a model learns some alphabets of Omniglot; its export is the `model.source` of studies on few pictures
of an alphabet that it has never seen.
"""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any

from autoglm_api.catalog.image_classification import IMAGE_CLASSIFICATION
from autoglm_api.locations import locate
from autoglm_store.connection import load_study
from autoglm_store.ledger import best
from autoglm_trainer.contract import FittedModel, Places
from autoglm_trainer.export import restore_trial
from autoglm_trainer.metrics import bootstrap, interval
from autoglm_trainer.tasks import get_task
from autoglm_trainer.work.artifacts import Artifacts
from benchmarks.cases import SETS_VARIABLE
from benchmarks.results import Aim, Row, Table
from benchmarks.studies import CreatedStudy, create, journal_url
from benchmarks.workers import WORKER, export, run_worker

SHAPES = Path(__file__).parents[1] / "examples" / "data" / "shapes" / "train.zip"
# How much more of the pictures transfer gets right, at the lower end of the interval.
AHEAD = Aim("at least", 0.05)
# Of all pictures, both sides.
_SIZE = 32
_SCRATCH, _EPISODES = "same network from scratch", "How far few examples take it"

# Alphabet → character → pictures.
Alphabets = Mapping[str, Mapping[str, Sequence[bytes]]]


@dataclass(frozen=True)
class Size:
    """What is learned from what.

    Attributes:
        archive: below the folder that `AUTOGLM_BENCH_SETS` names; empty = the examples' shapes.
        target: the alphabet of few pictures; the others are the background.
        shots: pictures of each of its characters to train on and choose by.
        epochs: of pretraining. trials: of each study on few pictures.
    """

    archive: str
    target: str
    shots: int
    epochs: int
    trials: int
    seeds: tuple[int, ...]


FULL = Size("img_omniglot_small/images_background_small1.zip", "Korean", 2, epochs=15, trials=4, seeds=(1, 2, 3))
SMALL = Size("", "straight", 2, epochs=1, trials=1, seeds=(1,))


@dataclass(frozen=True)
class Outcome:
    """One seed: accuracy on the test pictures, and what `comparison.json` says besides.

    Attributes:
        ahead: of the same network from scratch; the difference and its 95 % interval.
        searched: from scratch, after a search of its own; the figure and its interval.
        episodes: features → the table's cells.
    """

    transfer: tuple[float, float, float]
    baseline: float
    scratch: float
    ahead: tuple[float, float, float]
    searched: tuple[float, float, float]
    episodes: Mapping[str, Sequence[str]]
    sizes: Sequence[str]


def run(folder: Path, size: Size) -> Table:
    """Pretraining once, then both ways with every seed.

    Raises:
        FileNotFoundError: the data set is not there.
        RuntimeError: a worker or an export failed.
    """
    alphabets = read_alphabets(size)
    background = {name: characters for name, characters in alphabets.items() if name != size.target}
    base = _pretrained(folder / "background", background, size)
    found = [_measure(folder / str(seed), alphabets[size.target], base, size, seed) for seed in size.seeds]
    return Table("few_shot", "Few pictures: transfer against from scratch", _rows(size, found), _notes(size, found))


def read_alphabets(size: Size) -> Alphabets:
    """Alphabet → character → its pictures, in the order of the archive's names.

    Raises:
        FileNotFoundError: the archive is not there.
    """
    path = Path(os.environ.get(SETS_VARIABLE, "")) / size.archive if size.archive else SHAPES
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file: set {SETS_VARIABLE} to the folder that holds {size.archive}")
    found: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            place = PurePosixPath(name)
            if place.suffix == ".png":
                character = place.parent.name
                straight = character in ("square", "triangle", "cross")
                alphabet = place.parts[-3] if size.archive else ("straight" if straight else "other")
                found[alphabet][character].append(archive.read(name))
    return found


def _pretrained(folder: Path, background: Alphabets, size: Size) -> str:
    """A network that knows the background, as the next studies' `model.source`.

    The study has one trial. Its model is exported here and not by an export Job, which would train the default
    configuration beside it.
    """
    classes = {f"{name}/{character}": some for name, all_ in background.items() for character, some in all_.items()}
    data = {"train": {"source": _written(folder / "data", classes)}, "validation": {"fraction": 0.1}}
    point = {"epochs": size.epochs, "image_size": _SIZE}
    space = [{"name": name, "categorical": {"choices": [value]}} for name, value in point.items()]
    study = _searched(folder, {"data": data, "parameters": space}, trials=1, seed=0)
    exported = folder / "model"
    exported.mkdir()
    _winner(study, folder).export(exported)
    return exported.as_uri()


def _measure(folder: Path, characters: Mapping[str, Sequence[bytes]], base: str, size: Size, seed: int) -> Outcome:
    draw = random.Random(seed)
    mixed = {name: draw.sample(list(pictures), len(pictures)) for name, pictures in sorted(characters.items())}
    few = {name: pictures[: size.shots] for name, pictures in mixed.items()}
    rest = {name: pictures[size.shots :] for name, pictures in mixed.items()}
    data = {
        "train": {"source": _written(folder / "train", few)},
        "test": {"source": _written(folder / "test", rest)},
    }
    tuned, alone = folder / "transfer", folder / "scratch"
    study = _searched(tuned, {"model": {"source": base}, "data": data}, trials=size.trials, seed=seed)
    told = json.loads((export(study, tuned) / "comparison.json").read_text())
    searched = _searched(alone, {"data": data, "parameters": _scratch_space()}, trials=size.trials, seed=seed)
    predictions = _winner(searched, alone).predict("test")
    (resampled,) = bootstrap([predictions.measure], len(predictions), seed=seed)
    contenders = {each["name"].split(" (")[0]: each for each in told["contenders"]}
    scratch, winner = contenders[_SCRATCH], contenders["winner"]
    episodes = next((table for table in told["tables"] if table["title"] == _EPISODES), {"header": [""], "rows": []})
    return Outcome(
        transfer=(winner["metrics"]["accuracy"], *winner["intervals"]["accuracy"]),
        baseline=contenders["baseline"]["metrics"]["accuracy"],
        scratch=scratch["metrics"]["accuracy"],
        ahead=(scratch["winnerAhead"]["by"], *scratch["winnerAhead"]["interval"]),
        searched=(predictions.measure()["accuracy"], *interval(resampled["accuracy"])),
        episodes={name: cells for name, *cells in episodes["rows"]},
        sizes=episodes["header"][1:],
    )


def _scratch_space() -> list[Any]:
    """The task's own space without a model, pictures of the size that transfer has."""
    alone = IMAGE_CLASSIFICATION.for_model(None).parameters
    fixed = {"name": "image_size", "categorical": {"choices": [_SIZE]}}
    written = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in alone]
    return [fixed if each["name"] == "image_size" else each for each in written]


def _written(folder: Path, classes: Mapping[str, Sequence[bytes]]) -> str:
    """Pictures in folders by class."""
    for label, pictures in classes.items():
        (folder / label).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (folder / label / f"{number:02}.png").write_bytes(picture)
    return folder.as_uri()


def _searched(folder: Path, spec: Mapping[str, Any], *, trials: int, seed: int) -> CreatedStudy:
    """A study whose trials are all trained."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "task": "image-classification",
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "sampler": {"seed": seed},
        "trials": {"max": trials},
        **spec,
    }
    study = create(whole, journal_url(folder / "journal.log"), name=folder.name, artifacts=folder / "artifacts")
    run_worker(study, folder / "worker", program=WORKER, extra={})
    return study


def _winner(study: CreatedStudy, folder: Path) -> FittedModel:
    """The best trial's model, in this process."""
    place = partial(locate, claims_root=folder, credentials={})
    loaded = get_task(study.run.task).load(study.run, Places(place, place, {}, folder))
    winner = best(load_study(study.url, study.name).get_trials(), study.run)
    assert winner is not None, "run_worker refuses a study without a complete trial"
    artifacts = Artifacts(study.run.artifacts_uri, place(study.run.artifacts_uri))
    return restore_trial(loaded, study.run, winner, artifacts, folder / "weights")


def _rows(size: Size, found: Sequence[Outcome]) -> tuple[Row, ...]:
    case = f"{size.shots} pictures of each"
    # By the nearest seed: the lower end of transfer's interval against the upper end of the other's.
    ahead = min(each.ahead[1] for each in found)
    apart = min(each.transfer[1] - each.searched[2] for each in found)
    return (
        Row(f"{case}: accuracy, logistic regression on pixels", fmean(each.baseline for each in found), ""),
        Row(f"{case}: accuracy, from scratch by default", fmean(each.scratch for each in found), ""),
        Row(f"{case}: accuracy, from scratch after a search", fmean(each.searched[0] for each in found), ""),
        Row(f"{case}: accuracy, transfer after a search", fmean(each.transfer[0] for each in found), ""),
        Row("transfer over scratch by default: lower end of the interval", ahead, "", AHEAD),
        Row("transfer over scratch after a search: gap between the intervals", apart, "", Aim("at least", 0)),
    )


def _notes(size: Size, found: Sequence[Outcome]) -> tuple[str, ...]:
    told = "; ".join("{:.3f} ({:.3f} to {:.3f})".format(*each.ahead) for each in found)
    by_seed = "; ".join(
        f"{each.searched[0]:.3f} ({each.searched[1]:.3f} to {each.searched[2]:.3f}) → "
        f"{each.transfer[0]:.3f} ({each.transfer[1]:.3f} to {each.transfer[2]:.3f})"
        for each in found
    )
    pretrained = (
        f"A network of 8 layers on 32 x 32 grey pixels, pretrained by a study of its own for {size.epochs} epochs on"
        f" the other alphabets; {size.target} is new to it. {size.trials} trials a search, on the task's own spaces;"
        " one of each character's few pictures chooses between trials, all its other pictures are the test."
    )
    notes = [
        pretrained,
        f"Transfer over the same network from scratch on the same pictures, by seed, with 95 % intervals: {told}.",
        f"From scratch → transfer, both after a search, by seed, with 95 % intervals: {by_seed}.",
    ]
    if found[0].sizes:
        cells = "; ".join(f"{name}: {', '.join(each)}" for name, each in found[0].episodes.items())
        notes.append(f"Episodes of the first seed's test pictures ({', '.join(found[0].sizes)}), 600 each: {cells}.")
    return tuple(notes)
