"""Which training rows are shown as examples."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from autoglm_api.prompting import Example, Nearest

# What the server searches for each question, and what diverse examples are chosen from.
POOL = 2_000


def chosen_examples(
    pool: Sequence[Example], count: int, selection: str, *, labelled: bool, seed: int
) -> tuple[tuple[Example, ...], int]:
    """The examples of a recipe, and how many of them are searched for each question (0 = all are always shown).

    Args:
        pool: training rows.
        count: how many are shown.
        selection: `similar` to the question; `diverse`: far from each other; `random`.
        labelled: whether answers are labels; then examples that are the same for all questions take turns of them.
        seed: decides what is random, the order too.
    """
    if not count:
        return (), 0
    rng = random.Random(seed)
    some = list(pool) if len(pool) <= POOL else rng.sample(list(pool), POOL)
    if selection == "similar":
        return tuple(some), min(count, len(some))
    shuffled = rng.sample(some, len(some))
    if selection == "diverse":
        shuffled = _far_apart(shuffled, min(len(some), count * 4 if labelled else count))
    found = _in_turns(shuffled)[:count] if labelled else shuffled[:count]
    return tuple(rng.sample(found, len(found))), 0


def _far_apart(some: Sequence[Example], count: int) -> list[Example]:
    """Each the one that is least like those before (Gonzalez 1985: farthest point first)."""
    index = Nearest([example.prompt for example in some])
    chosen = [0]
    nearest = index.likeness(some[0].prompt)
    while len(chosen) < count:
        taken = set(chosen)
        farthest = min((place for place in range(len(some)) if place not in taken), key=lambda place: nearest[place])
        chosen.append(farthest)
        nearest = list(map(max, nearest, index.likeness(some[farthest].prompt)))
    return [some[place] for place in chosen]


def _in_turns(some: Sequence[Example]) -> list[Example]:
    """One of each answer, then the second of each, and so on."""
    turns: dict[str, int] = defaultdict(int)
    placed = []
    for place, example in enumerate(some):
        placed.append((turns[example.answer], place, example))
        turns[example.answer] += 1
    return [example for _, _, example in sorted(placed, key=lambda each: each[:2])]
