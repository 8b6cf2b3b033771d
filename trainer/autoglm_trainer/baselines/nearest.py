"""The plain baseline of text generation: the answer of the training prompt that is most like the asked one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def nearest_answers(known: Sequence[tuple[str, str]], asked: Sequence[str]) -> list[str]:
    """For each prompt, the answer of the nearest of the `known` (prompt, answer) by TF-IDF of character n-grams.

    Characters serve all scripts alike, and words in all their forms.
    """
    # A second of every worker's start, for what only the report needs.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import linear_kernel

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    table = vectorizer.fit_transform([prompt for prompt, _ in known])
    nearest = [int(np.argmax(linear_kernel(row, table))) for row in vectorizer.transform(asked)]
    return [known[index][1] for index in nearest]
