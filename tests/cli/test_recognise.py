"""`task: auto` on this machine: columns are known by their names, whatever the format, and if not, it is said why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.trainer.rows.test_door import WRITERS

from autoglm_cli import reading
from autoglm_cli.recognise import with_recognised_columns
from autoglm_cli.validate import examine

ROWS = [{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}]
STUDY = """
apiVersion: autoglm.io/v1alpha1
kind: AutoGLMStudy
metadata: {name: small}
spec:
  task: auto
  data: {train: {source: "file://rows"}}
  objectives: [{metric: accuracy, direction: Maximize}]
"""


def recognised(folder: Path, source: str) -> tuple[dict[str, Any], str | None]:
    spec, why = with_recognised_columns({"task": "auto", "data": {"train": {"source": source}}}, folder)
    return spec["data"].get("columns"), why


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_of_every_format_and_of_several_files_are_known_by_name(tmp_path: Path, kind: str) -> None:
    for name in ("rows", "part-0", "part-1"):
        WRITERS[kind](ROWS, tmp_path / name)
    for source in ("file://rows", "file://part-*"):
        assert recognised(tmp_path, source) == ({"text": "text", "label": "label"}, None)


def test_words_and_tags_of_conll_are_known_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "rows.conll").write_text("Ada\tB-name\nwrote\tO\n")
    assert recognised(tmp_path, "file://rows.conll") == ({"tokens": "tokens", "tags": "tags"}, None)


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_of_what_cannot_be_read_whole_the_first_line_is_enough(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LARGE", 0)
    WRITERS["CSV" if name.endswith("csv") else "JSONL"](ROWS, tmp_path / name)
    assert recognised(tmp_path, f"file://{name}") == ({"text": "text", "label": "label"}, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "file://rows is not on this machine, so its columns are not known"),
        ("", "rows: the file is empty; it needs rows"),
        ("a,b\n1,2\n", "its columns have no names that say their roles: a, b; name the roles in data.columns"),
    ],
)
def test_rows_in_which_nothing_is_recognised_are_told_beside_the_task(
    tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "rows").write_text(content)
    (tmp_path / "s.yaml").write_text(STUDY)
    told = [finding.sentence for finding in examine(str(tmp_path / "s.yaml")).findings]
    assert [sentence.split(": ")[1] for sentence in told] == ["spec.task", "spec.data.train.source"]
    assert told[1].endswith(said)
