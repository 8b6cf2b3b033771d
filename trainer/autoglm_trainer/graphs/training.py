"""The loop that trains networks on graphs: seeded, resumable to the bit on a CPU, stopped from outside."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoglm_trainer.contract import TrialControl
from autoglm_trainer.tuning.continuing import load_state, save_state
from autoglm_trainer.tuning.patience import Patience

from .graph import Features, Graph
from .neighbourhood import around, everything
from .network import GraphNetwork, inputs_of
from .settings import GraphSettings

# Passes over the training nodes between two looks at the validation nodes, from which the best weights are kept.
LOOK_EPOCHS = 5
# A report, hence a step as pruners count them, is so many passes; the first few tell little of where a network ends.
REPORT_EPOCHS = 25
_WEIGHTS, _POSITION = "weights.safetensors", "position.json"


@dataclass(frozen=True)
class Lesson:
    """What is learned from.

    Attributes:
        graph: as training sees it. features: of its nodes at least.
        nodes: those with a label to learn, (nodes,). targets: their labels' places, (nodes,).
        class_weight: (labels,), or None where all count alike.
    """

    graph: Graph
    features: Features
    nodes: Tensor
    targets: Tensor
    class_weight: Tensor | None = None


class Loop:
    """One training run; its whole state goes into a checkpoint. `step` counts the optimiser's, `reported` reports."""

    def __init__(
        self, network: GraphNetwork, lesson: Lesson, settings: GraphSettings, seed: int, patience: Patience
    ) -> None:
        self.network, self.lesson, self.settings, self.seed, self.patience = network, lesson, settings, seed, patience
        self.device = network.device
        self.trained = dict(network.named_parameters())
        size = settings.batch_size or len(lesson.nodes)
        self.steps_per_epoch = math.ceil(len(lesson.nodes) / size)
        self.total = self.steps_per_epoch * settings.epochs
        decayed = [value for value in self.trained.values() if value.ndim >= 2]
        plain = [value for value in self.trained.values() if value.ndim < 2]
        # Adam with L2, as the papers on graphs train; decoupled decay is not what their 5e-4 means.
        groups: list[dict[str, object]] = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=settings.learning_rate)
        self.step = 0
        self.reported = 0
        self._whole: tuple[Tensor, ...] | None = None

    def run(self, control: TrialControl, evaluate: Callable[[], float]) -> None:
        """Train to the end, reporting `evaluate()` now and then; with patience the weights of the best look stay.

        Raises:
            TrialPruned, Interrupted: from `control`, let through.
        """
        if control.resume_from is not None:
            self.load(control.resume_from)
        for chosen in self._ahead():
            self._advance(chosen)
            control.heartbeat()
            epochs, within = divmod(self.step, self.steps_per_epoch)
            if within == 0 and (epochs % LOOK_EPOCHS == 0 or self.step == self.total):
                self._look(epochs, control, evaluate)
            control.checkpoint(self.reported, self.save)
        if self.patience.weights():
            self.network.load_state_dict(self.patience.weights(), strict=False)

    def _look(self, epochs: int, control: TrialControl, evaluate: Callable[[], float]) -> None:
        value = evaluate()
        self.patience.note(value, self.trained)
        if epochs % REPORT_EPOCHS == 0 or self.step == self.total:
            self.reported += 1
            control.report(self.reported, value)

    def _ahead(self) -> Iterator[Tensor]:
        """Places of training nodes, a batch a step, from here to the end."""
        size = self.settings.batch_size or len(self.lesson.nodes)
        while self.step < self.total:
            epoch, within = divmod(self.step, self.steps_per_epoch)
            order = list(range(len(self.lesson.nodes)))
            random.Random(f"{self.seed}/{epoch}").shuffle(order)
            for batch in torch.split(torch.tensor(order), size)[within:]:
                if self.patience.over:
                    return
                yield batch

    def _advance(self, chosen: Tensor) -> None:
        self.network.train()
        inputs, answered = self._seen(chosen)
        logits = self.network(*inputs)[answered]
        weight = self.lesson.class_weight
        loss = nn.functional.cross_entropy(
            logits,
            self.lesson.targets[chosen].to(self.device),
            weight=None if weight is None else weight.to(logits),
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1

    def _seen(self, chosen: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """What a step looks at, and where in it the chosen nodes stand."""
        asked = self.lesson.nodes[chosen]
        if self.settings.batch_size:
            hops, sample = self.network.hops, self.settings.neighbours
            seen = around(self.lesson.graph, asked, hops=hops, sample=sample)
            return inputs_of(seen, self.lesson.features, self.device), torch.arange(len(asked), device=self.device)
        if self._whole is None:
            self._whole = inputs_of(everything(self.lesson.graph), self.lesson.features, self.device)
        return self._whole, asked.to(self.device)

    def save(self, folder: Path) -> None:
        """Write weights, optimiser, generators and position: safetensors and JSON only."""
        save_file({name: value.detach().contiguous() for name, value in self.trained.items()}, folder / _WEIGHTS)
        save_state(folder, self.optimizer, self.trained, self.device)
        position = {"step": self.step, "reported": self.reported, "total": self.total}
        (folder / _POSITION).write_text(json.dumps({**position, "patience": self.patience.save(folder)}))

    def load(self, folder: Path) -> None:
        """Continue where `save` stood.

        Raises:
            ValueError: the checkpoint is of another trial's settings or data.
        """
        position = json.loads((folder / _POSITION).read_text())
        if position["total"] != self.total:
            raise ValueError(f"the checkpoint is of a run of {position['total']} steps, this one has {self.total}")
        self.network.load_state_dict(load_file(folder / _WEIGHTS, device=str(self.device)), strict=False)
        load_state(folder, self.optimizer, self.trained, self.device)
        self.step, self.reported = position["step"], position["reported"]
        self.patience.load(folder, position["patience"], device=str(self.device))
