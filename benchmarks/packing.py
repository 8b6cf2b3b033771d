"""LoRA trials an hour of one card that several workers share: real worker processes on one study."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoglm_api import environment as env
from benchmarks.random_glm import write_texts
from benchmarks.results import times
from benchmarks.studies import CreatedStudy, create, journal_url
from benchmarks.workers import WORKER, environment, finished_trials, start

GIB = 2**30
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Work:
    """What each worker has to do: so many trials of one epoch over so many rows of one length."""

    trials: int
    rows: int
    tokens: int


@dataclass(frozen=True)
class Shared:
    """What a number of workers did.

    Attributes:
        seconds: from the first trial's beginning to the last one's end; loading is not part of it.
        card: bytes of the card that they held at most, all together; 0 without a GPU.
    """

    workers: int
    trials: int
    seconds: float
    card: int

    @property
    def per_hour(self) -> float:
        """Trials."""
        return 3_600 * self.trials / self.seconds


def measure(model: Path, folder: Path, workers: int, work: Work) -> Shared:
    """Start `workers` at once on a study of as many trials as they can share evenly.

    Raises:
        RuntimeError: one failed, or a trial has no result; with the end of a log.
    """
    folder.mkdir()
    study = _study(model, folder, workers * work.trials, work)
    processes = []
    with _watched() as card:
        for number in range(workers):
            own = folder / f"worker-{number}"
            own.mkdir()
            environ = {**environment(own), env.STORAGE_URL: study.url, env.STUDY: study.name}
            environ |= {env.OWNER_NAME: own.name, env.OWNER_IDENTITY: str(own)}
            processes.append(start(WORKER, own / "log", environ))
        codes = [process.wait() for process in processes]
    ended = finished_trials(study)
    if any(codes) or len(ended) < workers * work.trials:
        logs = "\n".join((folder / f"worker-{number}/log").read_text()[-2_000:] for number in range(workers))
        raise RuntimeError(f"workers ended with {codes} and {len(ended)} of {workers * work.trials} trials:\n{logs}")
    begun, told = zip(*ended.values(), strict=True)
    return Shared(workers, len(ended), max(told) - min(begun), card.most)


def _study(model: Path, folder: Path, trials: int, work: Work) -> CreatedStudy:
    points = [
        # No two alike: a point that has a result is not trained again.
        {"method": "lora", "learning_rate": 1e-4 * (1 + number / 100), "epochs": 1, "batch_size": 8, "lora_r": 16}
        for number in range(trials)
    ]
    spec: dict[str, Any] = {
        "task": "text-classification",
        "model": {"source": model.as_uri()},
        "data": {
            "train": {"source": write_texts(folder / "train.jsonl", work.rows, words=work.tokens, seed=1)},
            "validation": {"source": write_texts(folder / "validation.jsonl", 16, words=work.tokens, seed=2)},
        },
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "parameters": [
            {"name": "method", "categorical": {"choices": ["lora"]}},
            {"name": "learning_rate", "float": {"min": 1e-5, "max": 1e-2, "log": True}},
            {"name": "epochs", "int": {"min": 1, "max": 1}},
            {"name": "batch_size", "categorical": {"choices": [8]}},
            {"name": "lora_r", "int": {"min": 16, "max": 16}},
        ],
        "enqueue": points,
        "sampler": {"seed": 1},
        "pruner": {"type": "None"},
        "trials": {"max": trials},
    }
    return create(spec, journal_url(folder / "journal.log"), name=folder.name, artifacts=folder / "artifacts")


@dataclass
class _Card:
    """What others than this process hold of the GPU."""

    most: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Until it is over."""
        import torch

        free, _ = torch.cuda.mem_get_info()
        before = free
        while not self._over.wait(_LOOK_SECONDS):
            free, _ = torch.cuda.mem_get_info()
            self.most = max(self.most, before - free)


@contextmanager
def _watched() -> Any:
    import torch

    card = _Card()
    if not torch.cuda.is_available():
        yield card
        return
    thread = threading.Thread(target=card.look, daemon=True)
    thread.start()
    try:
        yield card
    finally:
        card._over.set()
        thread.join()


def markdown(found: Sequence[Shared], work: Work) -> str:
    """For a terminal and for the documentation alike."""
    lines = [
        f"### LoRA trials on one card: one epoch over {work.rows} rows of {work.tokens} tokens, {work.trials} a worker",
        "",
        "| workers | trials an hour | of one worker's | memory of the card, GiB |",
        "|---:|---:|---:|---:|",
    ]
    for each in found:
        gain = times(each.per_hour, found[0].per_hour)
        lines.append(f"| {each.workers} | {each.per_hour:,.0f} | {gain:.2f}x | {each.card / GIB:.1f} |")
    return "\n".join(lines)
