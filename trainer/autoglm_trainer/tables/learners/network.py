"""Small neural networks: a learned vector for each category beside the scaled numbers, then layers.

Source: Guo and Berkhahn 2016, "Entity Embeddings of Categorical Variables". Several, trained on the same batches and
different only in their beginnings and in dropout, answer by their mean: on small tables one alone is a matter of luck
(Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles").
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typing_extensions import override

from autoglm_trainer.metrics import Floats
from autoglm_trainer.tables.features import Cells, Features, code_column
from autoglm_trainer.tables.graph import Graph

from .learner import STEPS, Lesson

_LARGEST_VECTOR = 16
_WEIGHTS, _STATE, _POSITION = "weights.safetensors", "optimizer.safetensors", "position.json"


class Network:
    """Trained by AdamW, its rate falling along half a cosine to 0."""

    def learn(self, lesson: Lesson) -> LearnedNetwork:
        """Train; checkpoints hold weights, optimiser, generator and position."""
        torch.manual_seed(lesson.seed)
        training = _Training(lesson)
        if lesson.course.resume_from is not None:
            training.load(lesson.course.resume_from)
        learned = LearnedNetwork(training.net, lesson.features, is_classifier=bool(lesson.classes))
        for batch in training.ahead():
            training.advance(batch)
            lesson.course.heartbeat()
            reached = training.step * STEPS // training.total
            # With few steps a tenth may be skipped: reports are counted, and never leave a number out.
            if reached > training.tenths:
                training.tenths = reached
                training.reported += 1
                lesson.course.report(training.reported, learned.answer)
            lesson.course.checkpoint(training.reported, training.save)
        return learned


class _Net(nn.Module):
    def __init__(self, numbers: int, values: list[int], width: int, layers: int, dropout: float, outputs: int) -> None:
        super().__init__()
        sizes = [min(_LARGEST_VECTOR, math.ceil(math.sqrt(known + 1))) for known in values]
        # The last row is for values that are missing or not known; it says nothing, and stays so unless it is trained.
        self.vectors = nn.ModuleList(nn.Embedding(known + 1, size) for known, size in zip(values, sizes, strict=True))
        for each in self.vectors:
            nn.init.zeros_(each.weight[-1])  # type: ignore[index]
        widths = [numbers + sum(sizes), *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in pairwise(widths))
        self.output = nn.Linear(widths[-1], outputs)
        self.dropout = nn.Dropout(dropout)

    @override
    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(rows, numbers), (rows, categories) → (rows, outputs)."""
        known = [each(codes[:, place]) for place, each in enumerate(self.vectors)]
        hidden = torch.cat([numbers, *known], dim=1)
        for layer in self.layers:
            hidden = self.dropout(torch.relu(layer(hidden)))
        outputs: Tensor = self.output(hidden)
        return outputs


class _Nets(nn.Module):
    """Some networks of one shape."""

    def __init__(self, members: list[_Net]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @override
    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(rows, numbers), (rows, categories) → (networks, rows, outputs)."""
        return torch.stack([member(numbers, codes) for member in self.members])


class _Training:
    """Rows, network and optimiser, and where they stand."""

    def __init__(self, lesson: Lesson) -> None:
        settings = lesson.settings
        self.lesson = lesson
        self.numbers, self.codes = _inputs(lesson.features, lesson.cells)
        truth = torch.from_numpy(np.asarray(lesson.truth))
        self.truth = truth if lesson.classes else truth.float()
        self.weights = torch.from_numpy(lesson.weights).float()
        values = [codes.values for codes in lesson.features.codes]
        outputs = lesson.classes or 1
        shape = (self.numbers.shape[1], values, settings.width, settings.layers, settings.dropout, outputs)
        self.net = _Nets([_Net(*shape) for _ in range(settings.networks)])
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=settings.network_learning_rate, weight_decay=settings.weight_decay
        )
        self.per_epoch = math.ceil(len(lesson) / settings.batch_size)
        self.total = self.per_epoch * settings.epochs
        self.step = self.reported = self.tenths = 0

    def ahead(self) -> Iterator[Tensor]:
        """Row numbers of the batches from here to the end; the same for the same seed."""
        while self.step < self.total:
            epoch, within = divmod(self.step, self.per_epoch)
            shuffle = torch.Generator().manual_seed((self.lesson.seed + epoch) % 2**63)
            order = torch.randperm(len(self.lesson), generator=shuffle)
            yield from torch.split(order, self.lesson.settings.batch_size)[within:]

    def advance(self, batch: Tensor) -> None:
        """One step of the optimiser."""
        self.net.train()
        rate = self.lesson.settings.network_learning_rate * (1 + math.cos(math.pi * self.step / self.total)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        outputs = self.net(self.numbers[batch], self.codes[batch])
        truth = self.truth[batch].expand(len(outputs), -1)
        if self.lesson.classes:
            losses = nn.functional.cross_entropy(outputs.flatten(0, 1), truth.flatten(), reduction="none").view_as(
                truth
            )
        else:
            losses = (outputs[:, :, 0] - truth) ** 2
        # Summed over the networks, so that each learns as if it were alone.
        (losses * self.weights[batch]).mean(1).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        save_file(self.net.state_dict(), folder / _WEIGHTS)
        state = {
            f"{place}:{kind}": tensor
            for place, values in enumerate(self.net.parameters())
            for kind, tensor in self.optimizer.state[values].items()
        }
        save_file({**state, "generator": torch.get_rng_state()}, folder / _STATE)
        counts = {"step": self.step, "reported": self.reported, "tenths": self.tenths}
        (folder / _POSITION).write_text(json.dumps(counts), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Go on where `save` stood."""
        self.net.load_state_dict(load_file(folder / _WEIGHTS))
        state = load_file(folder / _STATE)
        torch.set_rng_state(state.pop("generator"))
        for place, values in enumerate(self.net.parameters()):
            mine = {name.partition(":")[2]: tensor for name, tensor in state.items() if name.startswith(f"{place}:")}
            self.optimizer.state[values] = mine
        counts = json.loads((folder / _POSITION).read_text(encoding="utf-8"))
        self.step, self.reported, self.tenths = counts["step"], counts["reported"], counts["tenths"]


@dataclass(frozen=True)
class LearnedNetwork:
    """Networks."""

    net: _Nets
    features: Features
    is_classifier: bool

    def answer(self, cells: Cells) -> Floats:
        """See `Learned`."""
        self.net.eval()
        with torch.no_grad():
            outputs = self.net(*_inputs(self.features, cells))
        found: Floats = (outputs.softmax(2) if self.is_classifier else outputs).mean(0).double().numpy()
        return found

    def add_to(self, graph: Graph, features: Features) -> str:
        """See `Learned`; the six kinds of nodes are written as they are, which takes milliseconds a trial."""
        axis = graph.constant([1], np.int64)
        places = [graph.add("Squeeze", code_column(graph, codes.part, codes.values), axis) for codes in features.codes]
        answers = [self._add_member(graph, features, places, member) for member in self.net.members]
        return graph.add("Mul", graph.add("Sum", *answers), graph.constant(1 / len(answers)))

    def _add_member(self, graph: Graph, features: Features, places: list[str], member: nn.Module) -> str:
        assert isinstance(member, _Net), "all members are"
        vectors = [
            graph.add("Gather", graph.constant(_array(each.weight)), place, axis=0)
            for each, place in zip(member.vectors, places, strict=True)
        ]
        hidden = graph.add("Concat", features.numbers, *vectors, axis=1)
        for layer in member.layers:
            hidden = graph.add("Relu", _linear(graph, hidden, layer))
        output = _linear(graph, hidden, member.output)
        return graph.add("Softmax", output, axis=1) if self.is_classifier else output


def _linear(graph: Graph, inputs: str, layer: nn.Module) -> str:
    assert isinstance(layer, nn.Linear), "all layers are"
    return graph.add("Gemm", inputs, graph.constant(_array(layer.weight)), graph.constant(_array(layer.bias)), transB=1)


def _array(weights: object) -> Floats:
    assert isinstance(weights, Tensor), "a module's weights are"
    return np.asarray(weights.detach().numpy())


def _inputs(features: Features, cells: Cells) -> tuple[Tensor, Tensor]:
    """Scaled numbers (rows, numbers) and codes (rows, categories)."""
    numbers = torch.from_numpy(features.of(features.numbers, cells))
    columns = [np.nan_to_num(cells[:, each.part], nan=each.values).astype(np.int64) for each in features.codes]
    codes = np.stack(columns, axis=1) if columns else np.zeros((len(cells), 0), dtype=np.int64)
    return numbers, torch.from_numpy(codes)
