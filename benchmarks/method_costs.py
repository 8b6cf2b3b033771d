"""What a step of each tuning method costs on the device at hand, and what the estimate of memory said before."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoglm_api.catalog import METHODS
from autoglm_api.locations import locate
from autoglm_api.run import freeze
from autoglm_api.study import StudySpec
from benchmarks.random_glm import write_texts

# Steps before the clock runs: kernels are chosen and memory is taken in the first.
WARM_UP = 2
# Texts of which the logits are compared.
_COMPARED = 2
GIB = 2**30


@dataclass(frozen=True)
class Batch:
    """What each method trains: so many steps, after the warm-up, of so many examples of one length."""

    examples: int
    tokens: int
    steps: int


@dataclass(frozen=True)
class Cost:
    """One method's figures; without them `trouble` says why.

    Attributes:
        trained: numbers that it trains.
        per_second: training examples; of a method without steps, rows from their tokens to the end of its fit.
        peak: bytes that were in use at most in the steps that are timed, the model's own among them.
        estimated: bytes, by the estimate that every trial gets.
        differs: the largest difference of a logit between the network as it was trained and as it would be exported.
    """

    method: str
    trained: int = 0
    per_second: float = 0.0
    peak: int = 0
    estimated: int = 0
    differs: float = 0.0
    trouble: str = ""

    @property
    def share(self) -> float:
        """Of the peak, what was estimated."""
        return self.estimated / self.peak if self.peak else 0.0


class _Enough(Exception):  # noqa: N818 - not an error
    """All steps are done."""


@dataclass
class _Memory:
    """The most that was in use on a device; of a CPU the process's own."""

    device: Any  # a torch.device

    def free(self) -> None:
        """What an earlier method has left behind is none of the next one's."""
        import torch

        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def begin(self) -> None:
        """From here on."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def settle(self) -> None:
        """Wait for the device."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak(self) -> int:
        """Bytes."""
        import torch

        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024


@dataclass
class _Clock:
    """The worker's side of an attempt that is stopped after so many steps; 0 = it runs to its end."""

    steps: int
    memory: _Memory
    resume_from: Path | None = None
    seed: int = 1
    moments: list[float] = field(default_factory=list)

    def report(self, step: int, value: float) -> None:
        """Nobody is told."""

    def heartbeat(self) -> None:
        """One step more."""
        if not self.steps:
            return
        self.memory.settle()
        if len(self.moments) == WARM_UP:
            self.memory.begin()
        self.moments.append(time.perf_counter())
        if len(self.moments) == self.steps + WARM_UP + 1:
            raise _Enough

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Nothing is kept."""


def measure(model: Path, folder: Path, batch: Batch, *, on_cpu: bool) -> list[Cost]:
    """Every method in the order of their table; one that fails costs the others nothing.

    Args:
        model: the base model's folder.
        folder: for the rows.
        batch: what is trained.
        on_cpu: whether `qlora` may run without a GPU, where it shows nothing but that it runs.
    """
    loaded = _load(model, folder, batch)
    found = []
    for method in METHODS:
        point = {"method": method, "batch_size": batch.examples, "max_length": batch.tokens, "epochs": 1}
        try:
            if method == "qlora" and on_cpu:
                _admit_cpu()
            found.append(_cost(loaded, point, batch))
        except Exception as error:  # noqa: BLE001 - told in the table
            found.append(Cost(method, trouble=" ".join(f"{type(error).__name__}: {error}".split())[:300]))
        print(f"{method}: {found[-1].trouble or f'{found[-1].per_second:.1f} examples a second'}", flush=True)
    return found


def _load(model: Path, folder: Path, batch: Batch) -> Any:
    from autoglm_trainer.contract import Places
    from autoglm_trainer.tasks import get_task

    # Twice what is trained: no report falls into the steps that are timed.
    rows = 2 * batch.examples * (batch.steps + WARM_UP + 1)
    data = {
        "train": {"source": write_texts(folder / "train.jsonl", rows, words=batch.tokens, seed=1)},
        "validation": {"source": write_texts(folder / "validation.jsonl", 8, words=batch.tokens, seed=2)},
    }
    spec = {
        "task": "text-classification",
        "model": {"source": model.as_uri()},
        "data": data,
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "sampler": {"seed": 1},
    }
    run = freeze(
        StudySpec.model_validate(spec), namespace="bench", name="gpu", uid="gpu", artifacts_uri=folder.as_uri()
    )

    def place(uri: str) -> Any:
        return locate(uri, claims_root=folder, credentials={})

    return get_task(run.task).load(run, Places(data=place, model=place, model_credentials={}, scratch=folder))


def _admit_cpu() -> None:
    from bitsandbytes.nn import modules

    from autoglm_trainer.methods.qlora import QLora

    QLora.devices = ("cuda", "cpu")
    # A newer CPU would repack the weights where nothing is trained.
    modules.has_avx512bf16 = lambda: False


def _cost(loaded: Any, point: dict[str, Any], batch: Batch) -> Cost:
    method, memory = str(point["method"]), _Memory(loaded.base.device)
    steps = batch.steps if METHODS[method].gradient else 0
    estimate = loaded.estimate(point)
    memory.free()
    memory.begin()
    clock = _Clock(steps, memory)
    began = time.perf_counter()
    with contextlib.suppress(_Enough):
        loaded.fit(point, clock)
    memory.settle()
    seconds = clock.moments[-1] - clock.moments[WARM_UP] if steps else time.perf_counter() - began
    peak, network = memory.peak(), loaded.current.network
    return Cost(
        method,
        trained=sum(value.numel() for value in network.parameters() if value.requires_grad),
        per_second=(steps * batch.examples or loaded.row_counts["train"]) / seconds,
        peak=peak,
        estimated=estimate.needed if estimate else 0,
        differs=_difference(loaded.current, loaded.base),
    )


def _difference(fitted: Any, base: Any) -> float:
    import torch

    from autoglm_trainer.tokens.examples import collate

    few = fitted._examples("validation").take(range(_COMPARED))
    read = collate(few, pad_id=base.pad_id, device=torch.device("cpu"))
    with torch.no_grad():
        trained = fitted.network.eval()(read.input_ids.to(base.device), read.attention_mask.to(base.device))
        exported = fitted._merged()(read.input_ids, read.attention_mask)
    return float((trained.float().cpu() - exported).abs().max())


def markdown(found: Sequence[Cost], batch: Batch) -> str:
    """For a terminal and for the documentation alike."""
    lines = [
        f"### Tuning methods: batches of {batch.examples} examples of {batch.tokens} tokens, {batch.steps} steps",
        "",
        "| method | trained | examples/s | peak, GiB | estimate, GiB | estimate / peak | exported differs by |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found:
        figures = f"{each.trained:,} | {each.per_second:.1f} | {each.peak / GIB:.2f} | {each.estimated / GIB:.2f}"
        lines.append(f"| {each.method} | {each.trouble or f'{figures} | {each.share:.2f} | {each.differs:.2g}'} |")
    return "\n".join(lines)
