"""The gradient loop of all methods: plain torch, seeded, resumable to the bit, stopped from outside."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoglm_trainer.contract import TrialControl
from autoglm_trainer.model.network import Network

from .continuing import load_state, save_state
from .lessons import Lessons
from .patience import Patience
from .ranks import Order, Ranks, Verdict
from .settings import Settings

REPORTS_PER_EPOCH = 2
GRADIENT_NORM = 1.0
# Batches whose examples are sorted by length together: little padding, still well mixed.
_BUCKET = 20
_WEIGHTS, _POSITION = "weights.safetensors", "position.json"


class Loop:
    """One training run of a network; its whole state goes into a checkpoint.

    Steps that are *reported* count half epochs, so that pruners compare trials of any batch size at the same
    amount of data seen; `step` counts optimiser steps.
    """

    def __init__(
        self,
        network: Network,
        examples: Lessons,
        criterion: Callable[[Any], Callable[[Tensor], Tensor]],
        settings: Settings,
        seed: int,
        patience: Patience,
        *,
        collate: Callable[[Any], Any],
        ranks: Ranks | None = None,
        half: torch.dtype | None = None,
        reports: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            network: whose parameters that require gradients are trained.
            examples: the training rows.
            criterion: some of them → the loss of their logits.
            settings: the trial's point.
            seed: decides the order of the examples.
            patience: when to end early.
            collate: some examples → a batch as the network takes it.
            ranks: who trains together with this process.
            half: the 16-bit type that the device computes in where it can; None = 32 bits throughout.
            reports: after how many to end, with the schedule of the whole; None = with its last step.
        """
        self.network, self.examples, self.criterion = network, examples, criterion
        self.settings, self.seed, self.patience, self.collate = settings, seed, patience, collate
        self.ranks, self.half, self.reports = ranks or Ranks(), half, reports
        self.device = next(network.parameters()).device
        self.trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.learned = network.learned()
        self.steps_per_epoch = math.ceil(len(examples) / settings.batch_size)
        self.total = self.steps_per_epoch * settings.epochs
        self.optimizer = torch.optim.AdamW(self._groups(), fused=True)
        # Gradients of float16 would vanish unscaled; bfloat16 has float32's range.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half == torch.float16)
        self.step = 0
        self.reported = 0

    def run(self, control: TrialControl, evaluate: Callable[[bool], float]) -> None:
        """Train to the end, reporting `evaluate(trained)` twice an epoch; `trained` only at the very end.

        With patience the end may come early, and the weights are those of the best report.

        Raises:
            TrialPruned, Interrupted: from `control`, let through.
        """
        if control.resume_from is not None:
            self.load(control.resume_from)
        parameters, resume_from = dict(self.settings.point), str(control.resume_from or "") or None
        order = Order(parameters, self.settings.accumulation, self.seed, resume_from)
        self.ranks.begin(order, [*self.learned.values()])
        if self.ranks.rank:
            self._follow()
            return
        try:
            self._lead(control, evaluate)
        finally:
            self.ranks.end()
        if self.patience.weights():
            self.network.load_trained(self.patience.weights())

    def _lead(self, control: TrialControl, evaluate: Callable[[bool], float]) -> None:
        for examples in self._ahead():
            self._advance(examples)
            control.heartbeat()
            reached = self.step * REPORTS_PER_EPOCH // self.steps_per_epoch
            if reached > self.reported:
                self._report(reached, control, evaluate)
            control.checkpoint(self.reported, self.save)

    def _follow(self) -> None:
        """Advance until rank 0 says that it is over."""
        for examples in self._ahead():
            torch.manual_seed(random.Random(f"{self.seed}/{self.ranks.rank}/{self.step}").getrandbits(63))
            if self._advance(examples) == Verdict.END:
                return
        self.ranks.agree(Verdict.GO_ON)

    def _ahead(self) -> Iterator[Lessons]:
        """The batches from here to the end."""
        while self.step < self.total:
            epoch, within = divmod(self.step, self.steps_per_epoch)
            for batch in batches(self.examples.lengths, self.settings.batch_size, seed=self.seed, epoch=epoch)[within:]:
                if self.patience.over or self.reported == self.reports:
                    return
                yield self.examples.take(batch)

    def _report(self, reached: int, control: TrialControl, evaluate: Callable[[bool], float]) -> None:
        self.reported = reached
        stays = self.step == self.total and not self.settings.patience
        value = evaluate(stays)
        self.patience.note(value, self.learned)
        control.report(reached, value)

    def _advance(self, examples: Lessons) -> Verdict:
        """One step of the optimiser, by all ranks; none if one of them has ended the training."""
        self.network.train()
        try:
            self._differentiate(examples)
            verdict = self.ranks.agree(Verdict.GO_ON)
            if verdict == Verdict.GO_ON:
                self._step()
        except torch.OutOfMemoryError:
            self.ranks.agree(Verdict.OUT_OF_MEMORY)
            raise
        if verdict == Verdict.OUT_OF_MEMORY:
            raise torch.OutOfMemoryError("another rank's GPU is out of memory")
        return verdict

    def _differentiate(self, examples: Lessons) -> None:
        """Gradients of this rank's share of a batch."""
        own, answers = self.ranks.share(examples), sum(map(len, examples.targets))
        for part, share in _parts(own, self.settings.accumulation, answers) if own is not None else ():
            batch = self.collate(part)
            with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
                logits = self.network.answers(batch)
                loss = self.criterion(part)(logits) * share
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _step(self) -> None:
        rate = self._schedule()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.ranks.add_up([*self.trained.values()])
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.trained.values(), GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _schedule(self) -> float:
        """Linear warm-up to 1; then to 0 along a line or half a cosine, or nothing."""
        warmup = round(self.total * self.settings.warmup_ratio)
        if self.step < warmup:
            return (self.step + 1) / warmup
        left = (self.total - self.step) / max(1, self.total - warmup)
        match self.settings.scheduler:
            case "constant":
                return 1.0
            case "cosine":
                return (1 - math.cos(math.pi * left)) / 2
            case _:
                return left

    def _groups(self) -> list[dict[str, object]]:
        """Backbone and head have rates of their own; biases and norms are not decayed."""
        groups: dict[tuple[bool, bool, float], list[Tensor]] = {}
        for name, value in self.trained.items():
            factor = self.network.rate_factors.get(name, 1.0)
            groups.setdefault((name.startswith("head."), value.ndim >= 2, factor), []).append(value)
        return [
            {
                "params": values,
                "peak": factor * (self.settings.head_learning_rate if head else self.settings.learning_rate),
                "weight_decay": self.settings.weight_decay if decayed else 0.0,
            }
            for (head, decayed, factor), values in groups.items()
        ]

    def save(self, folder: Path) -> None:
        """Write weights, optimiser, generators and position: safetensors and JSON only."""
        save_file({name: value.detach().contiguous() for name, value in self.learned.items()}, folder / _WEIGHTS)
        save_state(folder, self.optimizer, self.trained, self.device)
        counts = {"step": self.step, "reported": self.reported, "total": self.total}
        position = {**counts, "patience": self.patience.save(folder), "scaler": self.scaler.state_dict()}
        (folder / _POSITION).write_text(json.dumps(position))

    def load(self, folder: Path) -> None:
        """Continue where `save` stood.

        Raises:
            ValueError: the checkpoint is of another trial's settings or data.
        """
        position = json.loads((folder / _POSITION).read_text())
        if position["total"] != self.total:
            raise ValueError(f"the checkpoint is of a run of {position['total']} steps, this one has {self.total}")
        self.network.load_trained(load_file(folder / _WEIGHTS, device=str(self.device)))
        load_state(folder, self.optimizer, self.trained, self.device)
        self.step, self.reported = position["step"], position["reported"]
        self.patience.load(folder, position["patience"], device=str(self.device))
        if position.get("scaler"):
            self.scaler.load_state_dict(position["scaler"])


def batches(lengths: Sequence[int], size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The epoch's batches of row numbers: shuffled, those of like length together; the same for the same arguments."""
    shuffle = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    shuffle.shuffle(order)
    bucket = size * _BUCKET
    found: list[list[int]] = []
    for start in range(0, len(order), bucket):
        rows = sorted(order[start : start + bucket], key=lambda row: lengths[row])
        found.extend(rows[first : first + size] for first in range(0, len(rows), size))
    shuffle.shuffle(found)
    return found


def _parts(examples: Lessons, count: int, answers: int) -> Iterator[tuple[Lessons, float]]:
    """`examples` in `count` parts, each with its share of the batch's `answers`: losses are means over these."""
    size = math.ceil(len(examples) / count)
    for start in range(0, len(examples), size):
        rows = range(start, min(start + size, len(examples)))
        part = examples if len(rows) == len(examples) else examples.take(rows)
        yield part, sum(map(len, part.targets)) / max(1, answers)
