"""How well few examples of a class are enough, given features: episodes of n classes with k examples each.

Source: Snell, Swersky, Zemel 2017, "Prototypical Networks for Few-shot Learning": a query is of the class whose mean
of the k examples is nearest. Features have length 1, as in Wang et al. 2019, "SimpleShot".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .arrays import Floats, Ints

EPISODES = 600
WAYS, SHOTS = (5, 20), (1, 5)
# Pictures of each class that are asked about.
QUERIES = 15


@dataclass(frozen=True)
class Episodes:
    """Draws from rows, always the same ones for the same rows and seed.

    Attributes:
        ways: classes of an episode. shots: examples of each. queries: of each class, in an episode.
        support: row numbers (episodes, ways, shots). asked: (episodes, ways, queries).
    """

    ways: int
    shots: int
    queries: int
    support: Ints
    asked: Ints

    def accuracy(self, features: Floats) -> Floats:
        """Share of right answers in each episode, (episodes,), with features (rows, hidden)."""
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        return np.array([self._right(unit, *episode) for episode in zip(self.support, self.asked, strict=True)])

    def _right(self, unit: Floats, support: Ints, asked: Ints) -> float:
        prototypes = unit[support].mean(1)  # (ways, hidden)
        queries = unit[asked].reshape(self.ways * self.queries, -1)
        # The nearest in squared Euclidean distance; what queries have in common does not matter.
        closeness = 2 * queries @ prototypes.T - np.square(prototypes).sum(1)
        return float((closeness.argmax(1) == np.repeat(np.arange(self.ways), self.queries)).mean())


def draw_episodes(truth: Ints, *, seed: int, episodes: int = EPISODES) -> Iterator[Episodes]:
    """Episodes of each of the usual sizes for which there are classes and rows enough.

    Args:
        truth: class of each row, (rows,).
        seed: chooses classes and rows.
        episodes: of each size.
    """
    rows_of = {int(label): np.flatnonzero(truth == label) for label in np.unique(truth)}
    for ways in WAYS:
        for shots in SHOTS:
            usable = [rows for rows in rows_of.values() if len(rows) > shots]
            if len(usable) < ways:
                continue
            queries = min(QUERIES, min(map(len, usable)) - shots)
            draw = np.random.default_rng([seed, ways, shots])
            chosen = np.array([_draw(usable, ways, shots + queries, draw) for _ in range(episodes)])
            yield Episodes(ways, shots, queries, chosen[:, :, :shots], chosen[:, :, shots:])


def _draw(usable: list[Ints], ways: int, count: int, draw: np.random.Generator) -> Ints:
    classes = draw.choice(len(usable), ways, replace=False)
    return np.stack([draw.choice(usable[place], count, replace=False) for place in classes])


def mean_interval(accuracies: Floats) -> tuple[float, float]:
    """Mean over episodes and half the width of its 95 % interval."""
    return float(accuracies.mean()), float(1.96 * accuracies.std(ddof=1) / np.sqrt(len(accuracies)))
