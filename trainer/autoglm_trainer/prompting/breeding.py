"""New templates from those that have scored best: recombined, then changed a little.

Edits of phrases as in GrIPS (Prasad et al. 2022), in an evolution of prompts as in EvoPrompt (Guo et al. 2024), without
asking a model. A template's genes are the sentences of its instruction and its block.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Sequence

from autoglm_api.prompting import LABELS, Template

from .shelves import Shelf

PARENTS = 4
LONGEST = 1_000
_TRIES = 40
# Chinese sentences end so, and no space follows.
_ENDS = "\u3002\uff01\uff1f"
_SENTENCE = re.compile(rf"(?<=[.!?])\s+|(?<=[{_ENDS}])\s*|\n+")

Genes = tuple[list[str], str]


def breed(ranked: Sequence[str], shelf: Shelf, *, known: Collection[str], seed: int) -> str:
    """A template that nobody has tried.

    Args:
        ranked: templates that have been tried, best first; the library's stand in where there are none.
        shelf: whose pieces changes take.
        known: all templates that have been tried, or are being tried now.
        seed: decides everything.

    Returns:
        a template of at most 1,000 characters; one that is known already if 40 tries bring nothing else.
    """
    rng = random.Random(seed)
    parents = [_genes(text) for text in list(dict.fromkeys(ranked))[:PARENTS] or shelf.templates.values()]
    # The best is taken twice as often as the second, that twice as often as the third.
    weights = [2.0**-place for place in range(len(parents))]
    # Where a parent lists the labels, so do its children: without them the model could only guess.
    listing = any(LABELS in sentence for sentences, _ in parents for sentence in sentences)
    found = ""
    for _ in range(_TRIES):
        mother, father = rng.choices(parents, weights, k=2)
        child = _recombined(mother, father, rng) if mother != father else (list(mother[0]), mother[1])
        for _ in range(rng.choice((1, 1, 2)) if mother == father else rng.choice((0, 1, 1))):
            child = rng.choice(_CHANGES)(child, shelf, rng)
        if listing and not any(LABELS in gene for gene in (*child[0], child[1])):
            child[0].append(next(gene for gene in _pool(parents) if LABELS in gene))
        text = _text(child)
        if len(text) > LONGEST:
            continue
        found = text
        if text not in known:
            break
    return found or _text(parents[0])


def _genes(text: str) -> Genes:
    template = Template.read(text)
    return [part for part in _SENTENCE.split(template.instruction) if part.strip()], template.block


def _text(genes: Genes) -> str:
    sentences, block = genes
    joined = ""
    for sentence in sentences:
        joined += sentence if not joined or joined[-1] in _ENDS else f" {sentence}"
    return str(Template(joined, block))


def _pool(parents: Sequence[Genes]) -> list[str]:
    return [sentence for sentences, _ in parents for sentence in sentences]


def _recombined(mother: Genes, father: Genes, rng: random.Random) -> Genes:
    """Sentence by sentence from either, in the mother's order and then the father's; the block from either."""
    chosen = [sentence for sentence in mother[0] if rng.random() < 0.5 or sentence in father[0]]
    chosen += [sentence for sentence in father[0] if sentence not in chosen and rng.random() < 0.5]
    return chosen, rng.choice((mother[1], father[1]))


def _drop(genes: Genes, _: Shelf, rng: random.Random) -> Genes:
    sentences = list(genes[0])
    if sentences:
        del sentences[rng.randrange(len(sentences))]
    return sentences, genes[1]


def _add(genes: Genes, shelf: Shelf, rng: random.Random) -> Genes:
    free = [sentence for sentence in shelf.sentences if sentence not in genes[0]]
    sentences = list(genes[0])
    if free:
        sentences.insert(rng.randint(0, len(sentences)), rng.choice(free))
    return sentences, genes[1]


def _exchange(genes: Genes, shelf: Shelf, rng: random.Random) -> Genes:
    """One sentence for another; the one that lists the labels stays."""
    free = [sentence for sentence in shelf.sentences if sentence not in genes[0]]
    places = [place for place, sentence in enumerate(genes[0]) if LABELS not in sentence]
    if not free or not places:
        return _add(genes, shelf, rng)
    sentences = list(genes[0])
    sentences[rng.choice(places)] = rng.choice(free)
    return sentences, genes[1]


def _swap(genes: Genes, shelf: Shelf, rng: random.Random) -> Genes:
    sentences = list(genes[0])
    if len(sentences) < 2:
        return _add(genes, shelf, rng)
    first, second = rng.sample(range(len(sentences)), 2)
    sentences[first], sentences[second] = sentences[second], sentences[first]
    return sentences, genes[1]


def _lay_out(genes: Genes, shelf: Shelf, rng: random.Random) -> Genes:
    others = [block for block in shelf.blocks if block != genes[1]]
    return list(genes[0]), rng.choice(others)


_CHANGES: tuple[Callable[[Genes, Shelf, random.Random], Genes], ...] = (_drop, _add, _exchange, _swap, _lay_out)
