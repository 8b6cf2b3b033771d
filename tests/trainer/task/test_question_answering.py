"""Rows, windows, spans and metrics of question answering; the task itself is held to the contract elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trainer.contract.cases import CASES
from tests.trainer.task.making import Control, make_places, make_run, write_rows

from autoglm_api.spans import Span, Window, choose, read_window
from autoglm_trainer.baselines.word_overlap import answer_by_overlap, rarity
from autoglm_trainer.contract import Table
from autoglm_trainer.errors import DataError
from autoglm_trainer.metrics.spans import exact_match, f1
from autoglm_trainer.model.base import load_model
from autoglm_trainer.predictions.spans import SpanPredictions
from autoglm_trainer.rows.questions import Question, load_questions
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tokens.pairs import Reading, answered, pair_tokenizer, target, windowed

(CASE,) = [case for case in CASES if case.task == "question-answering"]
ROW = {"question": "colour of the sky", "context": "the sky is red", "answer": "red", "answer_start": 11}


def run_of(folder: Path, rows: list[dict[str, Any]], model: str = "file:///nowhere", **data: Any) -> Any:
    source = write_rows(folder / "train.jsonl", rows)
    objectives = [{"metric": "f1", "direction": "Maximize"}]
    return make_run(model, source, task="question-answering", data=data, objectives=objectives)


def load(folder: Path, rows: list[dict[str, Any]], **data: Any) -> Any:
    return load_questions(run_of(folder, rows, **data).data, make_places(folder).data, seed=3)


@pytest.mark.parametrize("architecture", ["bert", "glm"])
@pytest.mark.parametrize(("length", "stride"), [(64, 8), (24, 6), (16, 2)])
def test_every_answer_stands_whole_in_one_of_the_windows(
    model_folder: Callable[[str], Path], tmp_path: Path, architecture: str, length: int, stride: int
) -> None:
    run = run_of(tmp_path, [ROW], f"file://{model_folder(architecture)}")
    base = load_model(run.model, make_places(tmp_path))
    reading = Reading(windowed(pair_tokenizer(base), length, stride), length)
    for cells in CASE.rows(20, 0):
        padding = "grass is not so really pale " * 3
        context = padding + cells["context"] + " " + padding
        start = len(padding) + cells["answer_start"]
        row = Question(cells["question"], context, cells["answer"], start, line=1)
        found = []
        for window in reading.windows(row):
            assert len(window.ids) <= length
            places = answered(window)
            assert places[-1] == len(window.ids) - 1
            first, last = target(window, places, row)
            if first < len(places) - 1:
                found.append(context[window.offsets[places[first]][0] : window.offsets[places[last]][1]])
        assert found
        assert set(found) == {cells["answer"]}


def test_a_decoders_tokenizer_parts_question_and_context_and_keeps_its_prefix(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    run = run_of(tmp_path, [ROW], f"file://{model_folder('glm')}")
    tokens = pair_tokenizer(load_model(run.model, make_places(tmp_path))).encode("the sky", "is red").tokens
    assert tokens == ["[gMASK]", "<sop>", "the", "sky", "[PAD]", "is", "red", "[PAD]"]


def test_a_question_longer_than_half_a_window_is_cut(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    run = run_of(tmp_path, [ROW], f"file://{model_folder('bert')}")
    reading = Reading(windowed(pair_tokenizer(load_model(run.model, make_places(tmp_path))), 16, 2), 16)
    assert reading.cut("red " * 20) == ("red " * 8).strip()
    assert len(reading.windows(Question("red " * 40, "the sky is blue", "blue", 11, 1))[0].ids) <= 16


def test_an_answer_without_its_place_is_found_and_none_is_none(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "answer_start": None, "context": "red red"}, {**ROW, "answer": "", "context": "a sky"}]
    splits = load(tmp_path, rows, validation={"fraction": 0.34})
    known = {row.context: row.start for rows in splits.by_name.values() for row in rows}
    assert known == {"the sky is red": 11, "red red": 0, "a sky": None}


def test_rows_about_one_context_stay_on_one_side(tmp_path: Path) -> None:
    rows = [{**ROW, "context": f"the sky {'very ' * (index % 5)}is red"} for index in range(20)]
    rows = [{**row, "answer_start": None} for row in rows]
    splits = load(tmp_path, rows)
    train, validation = ({row.context for row in splits.by_name[split]} for split in ("train", "validation"))
    assert train
    assert validation
    assert not train & validation


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{**ROW, "answer": ""}, {**ROW, "answer": "", "context": "other"}],
            "none of the 1 training rows has an answer",
        ),
        ([ROW, ROW], "all have one context"),
        ([{**ROW, "answer_start": "x"}], "'answer_start' must be a whole number, got 'x'"),
        ([{**ROW, "answer_start": -1}], "'answer_start' is -1"),
    ],
)
def test_rows_that_teach_nothing_are_refused(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(tmp_path, rows)


@pytest.mark.parametrize(
    ("answer", "truth", "exact", "shared"),
    [
        ("The red sky.", "red sky", 1.0, 1.0),
        ("red", "the red sky", 0.0, 2 / 3),
        ("green", "red", 0.0, 0.0),
        ("", "", 1.0, 1.0),
        ("red", "", 0.0, 0.0),
        ("1817年", "1817 年", 1.0, 1.0),
        ("北京大学", "北京", 0.0, 2 / 3),
    ],
)
def test_metrics_are_those_of_squad_and_count_ideographs_as_words(
    answer: str, truth: str, exact: float, shared: float
) -> None:
    assert exact_match(answer, truth) == exact
    assert f1(answer, truth) == pytest.approx(shared)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=30), st.integers(1, 6))
def test_the_best_span_is_the_best_of_all_that_are_allowed(logits: list[tuple[float, float]], longest: int) -> None:
    starts, ends = [start for start, _ in logits], [end for _, end in logits]
    window = read_window(starts, ends, longest)
    null = len(logits) - 1
    allowed = [starts[first] + ends[last] for first in range(null) for last in range(first, min(null, first + longest))]
    if allowed and null <= 20:
        assert window.span is not None
        assert window.span.score == max(allowed)
        assert 0 <= window.span.probability <= 1
    assert window.absent == starts[null] + ends[null]
    assert null or window.span is None


def test_no_answer_is_said_only_where_it_was_taught_and_clearer_than_the_threshold() -> None:
    windows = [Window(Span(0, 0, 3.0, 0.5), 5.0, 0.4), Window(Span(1, 2, 2.0, 0.3), 4.0, 0.6)]
    assert choose(windows, may_be_absent=False, threshold=0.0) == (0, windows[0].span)
    assert choose(windows, may_be_absent=True, threshold=0.0) is None
    assert choose(windows, may_be_absent=True, threshold=1.5) == (0, windows[0].span)
    assert choose([Window(None, 1.0, 0.9)], may_be_absent=False, threshold=0.0) is None


def test_the_baseline_takes_what_is_new_in_the_sentence_most_like_the_question() -> None:
    context = "Ada lived in London. The first program was written by Ada Lovelace. It rained."
    answer, share = answer_by_overlap("Who has written the first program?", context, rarity([context]))
    assert answer == "by Ada Lovelace"
    assert 0 < share <= 1


def test_questions_without_an_answer_are_learned_and_answered_with_none(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    nothing = [
        {"question": "colour of the fire", "context": f"really {'so ' * n}very", "answer": ""} for n in range(20)
    ]
    run = run_of(tmp_path, [*CASE.rows(40, 0), *nothing], f"file://{model_folder('bert')}")
    task = get_task("question-answering").load(run, make_places(tmp_path))
    fitted = task.fit({**CASE.point, **CASE.taught, "epochs": 4}, Control())
    predictions = fitted.predict("validation")
    pairs = list(zip(predictions.answers, predictions.truth, strict=True))
    assert any(answer == truth == "" for answer, truth in pairs)
    table = {row[0]: row[1] for row in predictions.sections()[0].rows}
    assert table["no answer"] == sum(truth == "" for _, truth in pairs)
    assert json.dumps(dict(fitted.evaluate("validation")))


def test_the_report_counts_ideographs_as_words_where_it_tells_how_long_answers_are() -> None:
    truth = ("Leipzig", "中华人民共和国", "")
    known = np.zeros(len(truth))
    predictions = SpanPredictions(("?",) * len(truth), truth, truth, known, known)
    (table,) = predictions.sections()
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["1 word", "4-8 words", "no answer"]
