"""The metrics of written answers, taken a row at a time so that a bootstrap only sums.

Texts without spaces between words are compared character by character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from autoglm_api.words import is_ideographic

from .arrays import Floats

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

NAMES = ("rouge_l", "exact_match", "chrf", "bleu", "loss", "perplexity")
_ORDERS = 4
_WORDS = re.compile(r"\w+")


def exact_match(answer: str, truth: str) -> bool:
    """Whether both are the same text; how much white space stands between words is of no account."""
    return _plain(answer).split() == _plain(truth).split()


def rouge_l(answer: str, truth: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, in lower case, without punctuation; 0 … 1.

    As in Google's `rouge-score` without stemming, which keeps Latin letters and digits only, for all scripts.
    """
    ours, theirs = _words(answer), _words(truth)
    if not ours or not theirs:
        return float(ours == theirs)
    common = _common(ours, theirs)
    return 2 * common / (len(ours) + len(theirs))


def row_scores(answer: str, truth: str) -> tuple[float, ...]:
    """ROUGE-L, exact match, chrF (0 … 100), and what BLEU sums: n-grams found, n-grams, lengths of both."""
    bleu, chrf = _sacrebleu()
    tokens = bleu[_is_unspaced(truth)].sentence_score(answer, [truth])
    return (
        rouge_l(answer, truth),
        float(exact_match(answer, truth)),
        float(chrf.sentence_score(answer, [truth]).score),
        *map(float, tokens.counts),
        *map(float, tokens.totals),
        float(tokens.sys_len),
        float(tokens.ref_len),
    )


def measure(scores: Floats, losses: Floats) -> dict[str, float]:
    """All metrics of some rows.

    Args:
        scores: (rows, 13) of `row_scores`.
        losses: (rows, 2): sum of the cross-entropies of the true answer's tokens, and how many these are; NaN where
            they are not known.
    """
    means = scores[:, :3].mean(0)
    lost, tokens = losses.sum(0)
    loss = float(lost / tokens)
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(loss))
    return {
        **dict(zip(NAMES[:3], map(float, means), strict=True)),
        "bleu": _bleu(scores[:, 3:].sum(0)),
        "loss": loss,
        "perplexity": perplexity,
    }


def _bleu(counts: Floats) -> float:
    """BLEU of all rows together, 0 … 100."""
    from sacrebleu.metrics.bleu import BLEU

    whole = [int(count) for count in counts]
    found, of, (ours, theirs) = whole[:_ORDERS], whole[_ORDERS : 2 * _ORDERS], whole[2 * _ORDERS :]
    return float(BLEU.compute_bleu(found, of, ours, theirs, smooth_method="exp").score)


@lru_cache(maxsize=1)
def _sacrebleu() -> tuple[dict[bool, BLEU], CHRF]:
    # A part of a second, which only workers of this task need to pay.
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return {zh: BLEU(tokenize="zh" if zh else "13a", effective_order=True) for zh in (False, True)}, CHRF()


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_unspaced(text: str) -> bool:
    return any(map(is_ideographic, text))


def _words(text: str) -> list[str]:
    """Words in lower case; an ideograph is a word of its own."""
    apart = "".join(f" {each} " if is_ideographic(each) else each for each in _plain(text).lower())
    return _WORDS.findall(apart)


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(theirs) + 1)
    for word in ours:
        row = [0]
        for place, other in enumerate(theirs):
            row.append(above[place] + 1 if word == other else max(row[place], above[place + 1]))
        above = row
    return above[-1]
