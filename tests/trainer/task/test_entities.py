"""Entities against seqeval's, their metrics, and what the report shows of them."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from autoglm_api.bio import entities, likeliest, repaired
from autoglm_api.words import places, spaced
from autoglm_trainer.contract import Matrix, Table
from autoglm_trainer.metrics import bootstrap
from autoglm_trainer.predictions.entities import EntityPredictions
from autoglm_trainer.rows.tagged import Sentence

LABELS = ("O", "B-a", "I-a", "B-b", "I-b")


def random_tags(draw: random.Random, count: int) -> list[list[str]]:
    return [draw.choices(LABELS, weights=(4, 2, 3, 1, 2), k=draw.randint(1, 9)) for _ in range(count)]


def predictions(truth: list[list[str]], answers: list[list[str]], *, sure: float = 0.8) -> EntityPredictions:
    """Answers given with a probability of `sure`; `unread` where an answer is empty."""
    sentences = tuple(Sentence(tuple(f"w{n}" for n in range(len(tags))), tuple(tags), 1) for tags in truth)
    flat = [tag for tags in answers for tag in tags]
    probabilities = np.full((len(flat), len(LABELS)), (1 - sure) / (len(LABELS) - 1))
    for word, tag in enumerate(flat):
        if tag:
            probabilities[word, LABELS.index(tag)] = sure
    return EntityPredictions(LABELS, sentences, probabilities, np.array([not tag for tag in flat]))


def test_entities_are_those_of_seqeval_also_where_tags_are_broken() -> None:
    for tags in random_tags(random.Random(1), 500):
        expected = [(kind, first, last + 1) for kind, first, last in get_entities(tags)]
        assert [tuple(entity) for entity in entities(tags)] == expected
        assert entities(repaired(tags)) == entities(tags)
    assert repaired(["I-a", "I-b", "I-b", "O", "I-b"]) == ["B-a", "B-b", "I-b", "O", "B-b"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_seqeval(seed: int) -> None:
    draw = random.Random(seed)
    truth = [repaired(tags) for tags in random_tags(draw, 40)]
    answers = [[draw.choice(LABELS) if draw.random() < 0.4 else tag for tag in tags] for tags in truth]
    found = predictions(truth, answers)
    measured, tags = found.measure(), list(found.answers)
    assert measured["f1"] == pytest.approx(f1_score(truth, tags))
    assert measured["precision"] == pytest.approx(precision_score(truth, tags))
    assert measured["recall"] == pytest.approx(recall_score(truth, tags))
    assert measured["accuracy"] == pytest.approx(accuracy_score(truth, tags))


@pytest.mark.parametrize("seed", range(20))
def test_the_tags_are_the_likeliest_that_can_follow_each_other(seed: int) -> None:
    chance = np.random.default_rng(seed)
    told = chance.dirichlet(np.ones(len(LABELS)) / 2, size=1 + seed % 5)
    sound = [
        path
        for path in itertools.product(range(len(LABELS)), repeat=len(told))
        if repaired(tags := [LABELS[tag] for tag in path]) == tags
    ]
    best = max(sound, key=lambda path: sum(np.log(told[word, tag]) for word, tag in enumerate(path)))
    assert tuple(likeliest(told, LABELS)) == best


def test_a_type_that_nothing_begins_and_certain_tags_that_cannot_stand_are_no_trouble() -> None:
    certain = np.eye(3)[[1, 1]]
    assert [("O", "B-a", "I-a")[tag] for tag in likeliest(np.eye(3)[[2, 2]], ("O", "B-a", "I-a"))] != ["I-a", "I-a"]
    assert likeliest(certain, ("O", "I-a", "B-b")).tolist() != [1, 1]


def test_no_entities_anywhere_measure_zero_and_a_nan_makes_everything_nan() -> None:
    nothing = predictions([["O"]], [["O"]])
    assert nothing.measure() == pytest.approx(
        {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 1.0, "loss": -math.log(0.8)}
    )
    broken = predictions([["O"]], [["O"]], sure=math.nan)
    assert all(math.isnan(value) for value in broken.measure().values())


def test_a_word_that_nobody_read_is_outside_and_costs_what_a_guess_costs() -> None:
    found = predictions([["B-a", "O"]], [["", "O"]])
    assert found.answers == (["O", "O"],)
    assert found.measure()["loss"] == pytest.approx((math.log(len(LABELS)) - math.log(0.8)) / 2)
    assert "1 words are unknown to the tokenizer" in found.sections()[0].title


def test_a_bootstrap_measures_as_if_the_rows_stood_there_and_is_quick() -> None:
    draw = random.Random(0)
    truth = [repaired(tags) for tags in random_tags(draw, 1_287)]
    found = predictions(truth, random_tags_like(truth, draw))
    rows = [5, 5, 9, 700]
    again = predictions([truth[row] for row in rows], [found.answers[row] for row in rows])
    assert found.measure(np.array(rows)) == pytest.approx(again.measure())
    (resampled,) = bootstrap([found.measure], len(found), seed=1)
    assert resampled["f1"].std() > 0


def random_tags_like(truth: list[list[str]], draw: random.Random) -> list[list[str]]:
    return [[draw.choice(LABELS) if draw.random() < 0.2 else tag for tag in tags] for tags in truth]


def test_the_report_shows_each_type_the_confusion_and_the_surest_mistakes() -> None:
    truth = [["B-a", "I-a", "O"], ["B-b", "O", "B-a"], ["O", "O"], ["B-b"]]
    answers = [["B-a", "O", "O"], ["B-a", "O", "B-a"], ["O", "I-b"], ["O"]]
    found = predictions(truth, answers)
    found.probabilities[7] = (0.02, 0.02, 0.02, 0.02, 0.92)
    table, matrix = found.sections()
    assert isinstance(table, Table)
    assert isinstance(matrix, Matrix)
    assert table.rows == (("a", 0.333, 0.5, 0.4, 2, 3, 1, 1), ("b", 0.0, 0.0, 0.0, 2, 1, 0, 0))
    assert matrix.labels == ("a", "b", "(none)")
    assert matrix.counts == ((2, 0, 0), (1, 0, 1), (0, 1, 0))
    assert found.wrong() == 4
    first, *others = found.mistakes(3)
    assert (first.item, first.truth, first.answer) == ("w0 w1", "none", "b: w0 w1")
    assert first.confidence == pytest.approx(0.92)
    assert len(others) == 2


def test_words_are_answered_once_where_most_stands_around_them() -> None:
    windows = [[None, 0, 0, 1, 2, None], [None, 1, 2, 3, 3, None], [None, 3, 4, None]]
    assert places(windows, "first") == [{0: 1, 1: 3}, {2: 2, 3: 3}, {4: 2}]
    assert places(windows, "last") == [{0: 2, 1: 3}, {2: 2, 3: 4}, {4: 2}]
    assert places([[None, 0, 2]], "first") == [{0: 1, 2: 2}]


def test_spaces_stand_where_a_text_has_them() -> None:
    assert spaced(["the", "sky", ",", "天", "空", "red"]) == ["the", " sky", ",", "天", "空", "red"]
