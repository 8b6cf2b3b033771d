"""Wrong labels stand at the top of those that a simple model doubts."""

from __future__ import annotations

import random

from autoglm_trainer.baselines.suspects import suspect_tables, suspects
from autoglm_trainer.rows.splits import Rows
from autoglm_trainer.rows.texts import LabelledText

TOPICS = {"food": "soup bread cheese apple", "sport": "goal race ball team", "sky": "cloud star rain moon"}


def rows(wrong: dict[int, str], count: int = 90) -> Rows[LabelledText]:
    chance = random.Random(1)
    made = []
    for line in range(1, count + 1):
        topic = list(TOPICS)[line % 3]
        text = f"the {' '.join(chance.choices(TOPICS[topic].split(), k=8))} {line}"
        made.append(LabelledText(text, (wrong.get(line, topic),), line))
    return Rows("file:///r/train.csv", tuple(made))


def test_labels_that_were_swapped_are_found_first() -> None:
    wrong = {7: "sky", 30: "sport", 44: "food"}
    found = suspects(rows(wrong), 10)
    assert {f"file:///r/train.csv, line {line}" for line in wrong} <= {suspect.place for suspect in found[:5]}
    assert all(suspect.confidence > suspect.doubted for suspect in found)
    first = next(suspect for suspect in found if suspect.place.endswith("line 7"))
    assert (first.label, first.suggested) == ("sky", "sport")
    (table,) = suspect_tables(rows(wrong))
    assert table.title == "Labels in doubt"


def test_a_label_of_few_rows_is_left_out_and_one_alone_is_not_doubted() -> None:
    assert all(suspect.label != "rare" for suspect in suspects(rows({3: "rare", 9: "rare"}), 10))
    assert suspects(rows(dict.fromkeys(range(1, 91), "food")), 10) == []
    assert suspect_tables(rows({line: f"own {line}" for line in range(1, 91)})) == []


def test_a_label_that_another_one_outdoes_is_not_suggested() -> None:
    scarce = dict.fromkeys(range(1, 16), "rare")
    for suspect in suspects(rows(scarce), 90):
        assert suspect.confidence > 1 / 4, "the most probable of four labels"
