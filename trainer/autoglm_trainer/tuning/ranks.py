"""Data parallel training over the GPUs of a pod: what the ranks of one trial say to each other while they train.

Rank 0 is the worker: it alone evaluates, reports, checkpoints and decides; the others know nothing but its orders.
Every rank computes the gradients of its share of each batch, the sum is every rank's, and all make the same step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import FileStore

from autoglm_api.base import Scalar
from autoglm_trainer.errors import RankLost

from .lessons import Lessons

# How long rank 0 waits for the others in one step; they wait for it as long as it lives, since it evaluates too.
STEP = timedelta(minutes=10)
_PATIENT = timedelta(days=30)
# Gradients travel in pieces of this many numbers, so that little memory is needed beside them.
_BUCKET = 16_000_000


class Verdict(IntEnum):
    """What comes of a step; the gravest of all ranks' is everybody's."""

    GO_ON = 0
    END = 1
    OUT_OF_MEMORY = 2


@dataclass(frozen=True)
class Order:
    """What the other ranks must know to train with rank 0.

    Attributes:
        parameters: the trial's point, every knob.
        accumulation: parts of a rank's share of a batch; more than the point says after memory ran out.
        resume_from: the checkpoint's folder on this machine.
    """

    parameters: Mapping[str, Scalar]
    accumulation: int
    seed: int
    resume_from: str | None


def _nobody(order: Order) -> None:
    """There are no other ranks."""


@dataclass
class Ranks:
    """One rank's side; without arguments, of a process that trains alone.

    Attributes:
        call: sends an order to the other ranks; rank 0's.
        explain: a sentence about a rank that does not answer any more; rank 0's.
        gradients: the group in which tensors of the device are summed; None = the group of everything else.
        verdict: the last that all agreed on: GO_ON = in training, another = that is over, None = not begun.
    """

    rank: int = 0
    count: int = 1
    call: Callable[[Order], None] = _nobody
    explain: Callable[[], str] = lambda: "another rank of data parallel training does not answer"
    gradients: dist.ProcessGroup | None = None
    verdict: Verdict | None = None

    def begin(self, order: Order, trained: Sequence[Tensor]) -> None:
        """Call the other ranks to this training, and give them rank 0's weights.

        Raises:
            RankLost: one does not answer; so do all methods below.
        """
        if self.count == 1:
            return
        self.call(order)
        self.verdict = Verdict.GO_ON
        with self._heard(), torch.no_grad():
            for weights in trained:
                dist.broadcast(weights.data, src=0, group=self.gradients)

    def share(self, examples: Lessons) -> Lessons | None:
        """This rank's part of a batch; None where there are fewer examples than ranks."""
        if self.count == 1:
            return examples
        rows = range(self.rank, len(examples), self.count)
        return examples.take(rows) if rows else None

    def agree(self, own: Verdict) -> Verdict:
        """The gravest of all ranks' verdicts; after any but GO_ON this training is over."""
        if self.count == 1:
            return own
        gravest = torch.tensor(int(own))
        with self._heard():
            dist.all_reduce(gravest, op=dist.ReduceOp.MAX)
        self.verdict = Verdict(int(gravest))
        return self.verdict

    def end(self) -> None:
        """Tell the other ranks that this training is over, if they do not know it."""
        if self.verdict == Verdict.GO_ON:
            self.agree(Verdict.END)

    def add_up(self, trained: Sequence[Tensor]) -> None:
        """Give each parameter the sum of all ranks' gradients; one that no rank has a gradient of stays without."""
        if self.count == 1:
            return
        known = torch.tensor([weights.grad is not None for weights in trained], dtype=torch.uint8)
        with self._heard():
            dist.all_reduce(known, op=dist.ReduceOp.MAX)
            for bucket in _buckets([weights for weights, one in zip(trained, known.tolist(), strict=True) if one]):
                for weights in bucket:
                    if weights.grad is None:
                        weights.grad = torch.zeros_like(weights)
                grads = [weights.grad for weights in bucket if weights.grad is not None]
                flat = torch.cat([grad.reshape(-1) for grad in grads])
                dist.all_reduce(flat, group=self.gradients)
                for grad, total in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
                    grad.copy_(total.view_as(grad))

    @contextmanager
    def _heard(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # all that torch says of a rank that is gone
            self.verdict = Verdict.END
            raise RankLost(f"{self.explain()} ({' '.join(str(error).split())[:200]})") from error


def _buckets(trained: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one type together, up to a size."""
    bucket: list[Tensor] = []
    for weights in sorted(trained, key=lambda weights: str(weights.dtype)):
        if bucket and (weights.dtype != bucket[0].dtype or sum(map(Tensor.numel, bucket)) + weights.numel() > _BUCKET):
            yield bucket
            bucket = []
        bucket.append(weights)
    if bucket:
        yield bucket


def join(rank: int, count: int, folder: Path, device: torch.device) -> Ranks:
    """Meet the other ranks, which run on this machine.

    Args:
        rank: this process's number.
        count: ranks in all.
        folder: the same for all; the address of each is written there.
        device: where gradients are; on a GPU they travel by NCCL.
    """
    # Ranks are neighbours: what they say never leaves the pod, whatever address its name stands for.
    if Path("/sys/class/net/lo").exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    store = FileStore(str(folder / "addresses"), count)
    patience = STEP if rank == 0 else _PATIENT
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=patience)
    # A transfer of gradients comes right after an agreement, so nobody is waited for in it.
    gradients = dist.new_group(backend="nccl", timeout=STEP) if device.type == "cuda" else None
    return Ranks(rank, count, gradients=gradients)


@dataclass(frozen=True)
class Following:
    """The control of a rank that follows; it has nothing to report, save or decide. Meets `contract.TrialControl`."""

    seed: int
    resume_from: Path | None

    def report(self, step: int, value: float) -> None:
        """Rank 0 reports."""

    def heartbeat(self) -> None:
        """Rank 0 is asked."""

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Rank 0 saves."""
