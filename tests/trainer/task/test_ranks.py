"""Data parallel training: two processes on a CPU do what one does, stop when it stops, and never outlive each other."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
import torch
import torch.distributed as dist
from optuna.trial import TrialState
from tests.store.studies import make_run as make_study_run
from tests.store.studies import make_study
from tests.trainer.task.making import Control, colour_rows, make_places, make_run, write_model, write_rows
from tests.trainer.task.tagging import tagged_rows

from autoglm_api.environment import WorkerEnvironment
from autoglm_trainer.errors import RankLost
from autoglm_trainer.methods import get_method
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.patience import Patience
from autoglm_trainer.tuning.ranks import Ranks, join
from autoglm_trainer.tuning.task import LoadedTuned
from autoglm_trainer.tuning.training import Loop
from autoglm_trainer.work.crew import Crew, muster

# Seven do not divide into two ranks of two parts each.
SHORT = {
    "epochs": 3,
    "batch_size": 7,
    "accumulation": 2,
    "head_learning_rate": 3e-2,
    "dropout": 0.0,
    "lora_dropout": 0.0,
}
POINTS = {
    "lora": {"method": "lora", "lora_r": 4, "learning_rate": 1e-2, **SHORT},
    "full": {"method": "full", "learning_rate": 1e-3, **SHORT},
}
# Sums of float32 in another order; the logits are about 1.
TOLERANCE = 1e-4


@dataclass
class Pair:
    alone: LoadedTuned
    led: LoadedTuned
    crew: Crew


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A task in this process, and the same with a second process that trains with it."""
    folder = tmp_path_factory.mktemp("ranks")
    model = write_model(folder / "model", "bert")
    test = {"test": {"source": write_rows(folder / "test.jsonl", colour_rows(30, start=100))}}
    run = make_run(f"file://{model}", write_rows(folder / "train.jsonl", colour_rows(60)), data=test)
    alone, led = (get_task(run.task).load(run, make_places(folder)) for _ in range(2))
    assert isinstance(alone, LoadedTuned)
    assert isinstance(led, LoadedTuned)
    environment = WorkerEnvironment(
        storage_url="journal:///secret", study="lab/colours/0-1", owner_name="pod", owner_identity="1", scratch=folder
    )
    crew = muster(run, environment, led.digests, 2)
    try:
        led.ranks = join(0, 2, crew.folder, led.base.device)
        led.ranks.call, led.ranks.explain = crew.call, crew.explain
        yield Pair(alone, led, crew)
    finally:
        crew.close()
        dist.destroy_process_group()


def answers(fitted: Any) -> Any:
    return np.concatenate(fitted.logits("test"))


def test_two_processes_train_the_model_that_one_does(pair: Pair) -> None:
    for point in POINTS.values():
        one, two = Control(), Control()
        expected = answers(pair.alone.fit(point, one))
        assert expected.std() > 0.1, "it has learned something"
        assert np.abs(answers(pair.led.fit(point, two)) - expected).max() < TOLERANCE
        assert one.reports == two.reports


def test_what_ends_the_training_of_one_ends_that_of_all_and_the_next_is_whole(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point = POINTS["lora"]
    expected = answers(pair.alone.fit(point, Control()))
    with pytest.raises(optuna.TrialPruned):
        pair.led.fit(point, Control(prune_at=1))
    with pytest.raises(InterruptedError):
        pair.led.fit(point, Control(save_to=tmp_path / "checkpoint", stop_after_beats=3))
    resumed = pair.led.fit(point, Control(resume_from=tmp_path / "checkpoint"))
    assert np.abs(answers(resumed) - expected).max() < TOLERANCE
    short_of_memory = iter([True])
    criterion = pair.led.problem.criterion

    def once_too_much(examples: Any, settings: Any) -> Any:
        if next(short_of_memory, False):
            raise torch.OutOfMemoryError("full")
        return criterion(examples, settings)

    monkeypatch.setattr(pair.led.problem, "criterion", once_too_much)
    assert np.abs(answers(pair.led.fit(point, Control())) - expected).max() < TOLERANCE
    wild = {**point, "epochs": 6, "learning_rate": 0.3, "scheduler": "constant", "patience": 1}
    control = Control()
    pair.led.fit(wild, control)
    assert len(control.reports) < 12, "it ends early"


def test_a_killed_rank_ends_the_attempt_with_a_sentence(pair: Pair) -> None:
    class Killing(Control):
        def heartbeat(self) -> None:
            super().heartbeat()
            if self.beats == 2:
                pair.crew.followers[0].kill()

    control = Killing()
    with pytest.raises(RankLost, match=r"rank 1 of 2 of data parallel training was killed by SIGKILL"):
        pair.led.fit(POINTS["lora"], control)
    assert control.beats == 2
    with pytest.raises(RankLost, match="SIGKILL"):
        pair.led.fit(POINTS["lora"], Control())


def test_the_gradients_of_all_shares_are_those_of_the_batch_however_many_answers_each_has(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    train = write_rows(tmp_path / "train.jsonl", tagged_rows(40, start=0))
    objectives = [{"metric": "f1", "direction": "Maximize"}]
    run = make_run(f"file://{model_folder('bert')}", train, task="token-classification", objectives=objectives)
    task: Any = get_task(run.task).load(run, make_places(tmp_path))
    settings = task.problem.settings(POINTS["lora"])
    torch.manual_seed(0)
    network = task.network(get_method("lora"), settings)
    examples = task.problem.examples("train", settings)
    batch = examples.take(range(7))
    assert len(set(map(len, batch.targets))) > 2

    def gradients(rank: int, count: int) -> torch.Tensor:
        criterion = lambda some: task.problem.criterion(some, settings)  # noqa: E731
        patience, ranks = Patience(0, maximize=True), Ranks(rank, count)
        loop = Loop(network, examples, criterion, settings, 0, patience, collate=task.base.collate, ranks=ranks)
        network.zero_grad()
        network.eval()
        loop._differentiate(batch)
        return torch.cat([value.grad.flatten() for value in loop.trained.values() if value.grad is not None])

    whole, shares = gradients(0, 1), [gradients(rank, 3) for rank in range(3)]
    assert torch.allclose(sum(shares, torch.zeros(1)), whole, atol=1e-6)
    assert not torch.allclose(3 * shares[0], whole, atol=1e-3)


def test_a_worker_trains_with_all_ranks_and_killed_leaves_none_behind(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    parameters: list[dict[str, Any]] = [
        {"name": "method", "categorical": {"choices": ["lora"]}},
        {"name": "learning_rate", "float": {"min": 1e-4, "max": 1e-2}},
    ]
    run, bounds = make_study_run(
        parameters,
        model={"source": f"file://{model_folder('bert')}"},
        data={"train": {"source": write_rows(tmp_path / "train.jsonl", colour_rows(30))}},
        artifacts_uri=f"file://{tmp_path}/artifacts",
    )
    url = f"journal://{tmp_path}/journal.log"
    study = make_study(url, run, bounds.model_copy(update={"max": 10_000}))
    environ = {
        **os.environ,
        "AUTOGLM_STORAGE_URL": url,
        "AUTOGLM_STUDY": study.study_name,
        "AUTOGLM_POD_NAME": "pod-0",
        "AUTOGLM_POD_UID": "uid-0",
        "AUTOGLM_TERMINATION_LOG": str(tmp_path / "termination"),
        "AUTOGLM_SCRATCH": str(tmp_path),
        "AUTOGLM_RANKS": "2",
    }
    said = tmp_path / "log"
    with said.open("w") as log:
        worker = psutil.Popen([sys.executable, "-m", "autoglm_trainer.main", "work"], env=environ, stderr=log)
    try:
        wait_for(
            lambda: study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) and worker.is_running(),
            told=said.read_text,
        )
        (follower,) = worker.children()
        assert "2 processes train each trial together" in said.read_text()
    finally:
        worker.kill()
        worker.wait()
    _, alive = psutil.wait_procs([follower], timeout=20)
    assert not alive


def wait_for(condition: Callable[[], Any], *, told: Callable[[], str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.1)
