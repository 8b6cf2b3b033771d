"""Rows: formats, splits, digests, and every refusal with its sentence."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autoglm_api.locations import locate
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.splits import Rows
from autoglm_trainer.rows.texts import LabelledText, LabelledTexts, load_texts

GOOD = 'text,label\n"one, two",a\n三,b\nfour,a\nfive,b\n'


def read(tmp_path: Path, content: bytes | str = GOOD, *, name: str = "train.csv", **data: Any) -> LabelledTexts:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return load(tmp_path, name, **data)


def load(tmp_path: Path, name: str, *, seed: int = 0, **data: Any) -> LabelledTexts:
    spec = Data.model_validate({"train": {"source": f"file://{tmp_path}/{name}"}, "cleaning": "Off", **data})
    return load_texts(spec, lambda uri: locate(uri, claims_root=tmp_path, credentials={}), seed=seed)


def texts_of(rows: Rows[LabelledText]) -> list[str]:
    return [row.text for row in rows]


def refusal(tmp_path: Path, content: bytes | str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, **options)
    return str(caught.value)


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def with_labels(**counts: int) -> str:
    return lines(*({"text": f"{label} {n}", "label": label} for label, count in counts.items() for n in range(count)))


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_csv_and_json_lines_with_the_same_rows_have_the_same_digest(tmp_path: Path, prefix: str, ends: str) -> None:
    csv = read(tmp_path, prefix + GOOD.replace("\n", ends))
    rows = [{"label": "a", "text": "one, two"}, {"text": "三", "label": "b"}]
    rows += [{"text": "four", "label": "a"}, {"text": "five", "label": "b", "more": None}]
    jsonl = read(tmp_path, prefix + lines(*rows).replace("\n", ends), name="train.jsonl")
    assert csv.labels == ("a", "b")
    assert sorted(texts_of(csv.splits.train) + texts_of(csv.splits.validation)) == ["five", "four", "one, two", "三"]
    assert jsonl.splits.digests == csv.splits.digests
    assert read(tmp_path, GOOD.replace("four", "Four")).splits.digests != csv.splits.digests


def test_a_quoted_text_may_hold_line_ends_and_the_next_row_keeps_its_line_number(tmp_path: Path) -> None:
    said = refusal(tmp_path, 'text,label\n"two\nlines",a\n,b\n')
    assert "line 4" in said
    assert "'text' is empty" in said


def test_whole_numbers_are_labels_as_written(tmp_path: Path) -> None:
    data = read(tmp_path, lines(*({"text": f"t{n}", "label": n % 2} for n in range(6))), name="train.jsonl")
    assert data.labels == ("0", "1")


def test_columns_can_be_named(tmp_path: Path) -> None:
    data = read(tmp_path, "review,stars\ngood,5\nbad,1\nfine,5\nugly,1\n", columns={"text": "review", "label": "stars"})
    assert data.labels == ("1", "5")


def test_held_out_rows_are_stratified_and_follow_the_seed(tmp_path: Path) -> None:
    content = with_labels(a=50, b=20, c=1)
    first = read(tmp_path, content, name="t.jsonl", validation={"fraction": 0.2}, seed=1)
    again = read(tmp_path, content, name="t.jsonl", validation={"fraction": 0.2}, seed=1)
    other = read(tmp_path, content, name="t.jsonl", validation={"fraction": 0.2}, seed=2)
    assert Counter(row.labels[0] for row in first.splits.validation.rows) == {"a": 10, "b": 4}
    assert first == again
    assert first.splits.validation != other.splits.validation


def test_equal_texts_never_stand_on_both_sides(tmp_path: Path) -> None:
    twice = with_labels(a=10, b=10) * 2
    data = read(tmp_path, twice, name="t.jsonl", validation={"fraction": 0.3})
    assert not set(texts_of(data.splits.train)) & set(texts_of(data.splits.validation))
    assert len(data.splits.train) + len(data.splits.validation) == 40


def test_validation_and_test_can_have_sources_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("text,label\nx,a\n")
    (tmp_path / "t.jsonl").write_text(lines({"text": "y", "label": "b"}))
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim" / "train.csv").write_text(GOOD)
    data = load(
        tmp_path,
        "../" * len(tmp_path.parts) + str(tmp_path / "claim" / "train.csv").lstrip("/"),
        validation={"source": "pvc://claim/train.csv"},
        test={"source": f"file://{tmp_path}/t.jsonl"},
    )
    assert len(data.splits.train) == len(data.splits.validation) == 4
    assert data.splits.test is not None
    assert data.splits.digests.test == data.splits.test.digest


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("", "train.csv", ["the file is empty"]),
        ("text,label\n", "train.csv", ["no rows"]),
        (
            b"text,label\nfine,a\ncaf\xe9,b\n",
            "train.csv",
            ["line 3", "not UTF-8", "0xe9 at offset 21", "not GB18030", "save the file"],
        ),
        ("text,label\na,b\n".encode("utf-16"), "train.csv", ["UTF-16; save it as UTF-8"]),
        ("words,label\nx,a\n", "train.csv", ["no column 'text'", "'words', 'label'", "data.columns"]),
        ("text,label,text\nx,a,y\n", "train.csv", ["'text' stands there 2 times"]),
        ("text,label\nx,y,a\n", "train.csv", ["line 2", "3 cells where the header has 2", "quote"]),
        ('text,label\n"x,a\n', "train.csv", ["line 2: a quote opens in this row and the file ends before it closes"]),
        ("text,label\nx,a\n  ,b\n", "train.csv", ["line 3", "'text' is empty", "'  '"]),
        ("text,label\nx,\n", "train.csv", ["line 2", "'label' is empty"]),
        ('{"text": "x", "label": "a"}\n{"text": "y"\n', "t.jsonl", ["line 2", "not JSON"]),
        ('{"text": "x", "label": "a"}\n\n{"text": "y"}\n', "t.jsonl", ["line 3", "no column 'label'", "found: 'text'"]),
        ("[1]\n", "t.jsonl", ["line 1", "list where an object is needed"]),
        ('{"text": null, "label": "a"}\n', "t.jsonl", ["line 1", "'text' is empty"]),
        ('{"text": "x", "label": 0.5}\n', "t.jsonl", ["'label' is 0.5", "as a string"]),
        ('{"text": "\\ud83d", "label": "a"}\n', "t.jsonl", ["surrogate", "\\ud83d"]),
        ("x\ny\n", "t.parquet", ["no column 'text'", "read as CSV"]),
        (with_labels(a=5), "t.jsonl", ["all 4 training rows have the label 'a'", "at least two"]),
        (with_labels(a=1, b=1), "t.jsonl", ["no rows can be held out", "name a validation source"]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("t") and "." in value else "",
)
def test_bad_rows_are_refused_with_a_sentence(tmp_path: Path, content: bytes | str, name: str, said: list[str]) -> None:
    message = refusal(tmp_path, content, name=name)
    assert name in message
    for part in said:
        assert part in message, message


@pytest.mark.parametrize("content", ["good,x\nbad,y\nfine,x\n", "1.5,x\n2,y\n", "Nothing works here!,y\nfine,x\n"])
def test_a_file_that_seems_to_have_no_header_is_told_so(tmp_path: Path, content: str) -> None:
    assert "line 2: no column 'text'; found" in refusal(tmp_path, content)
    assert "the first line looks like a row: if there is no header line, write one" in refusal(tmp_path, content)
    assert "looks like a row" not in refusal(tmp_path, "review,stars\ngood,5\nbad,1\n")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: there is no such file; check the path"):
        load(tmp_path, "none.csv")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.csv" / "rows.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path, "folder.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(GOOD)
    (tmp_path / "train.csv").chmod(0)
    with pytest.raises(DataError, match="access denied"):
        load(tmp_path, "train.csv")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_that_training_never_shows_is_refused(tmp_path: Path, split: str) -> None:
    (tmp_path / "other.csv").write_text("text,label\nx,a\ny,zebra\nz,yak\n")
    message = refusal(tmp_path, GOOD, **{split: {"source": f"file://{tmp_path}/other.csv"}})
    assert "other.csv, line 3" in message
    assert f"the label 'zebra' stands in the {split} rows only (so do 'yak')" in message
    assert "add training rows" in message


def test_a_path_that_leaves_its_claim_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, validation={"source": "pvc://claim/../../etc/rows.csv"})
    assert "leaves the claim" in message
