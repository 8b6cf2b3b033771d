"""Several files as one source: the rows of one file, with places in their own files; and what does not fit together."""

from __future__ import annotations

import gzip
import logging
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.rows.test_door import WRITERS
from tests.trainer.task.drawing import write_folder

from autoglm_api.locations import locate_rows
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.door import read_records
from autoglm_trainer.rows.images import load_pictures
from autoglm_trainer.rows.records import Records
from autoglm_trainer.rows.tagged import load_tagged
from autoglm_trainer.rows.texts import LabelledTexts, load_texts

ROWS = [{"text": f"{'abc'[n % 3]} text {n}", "label": "xy"[n % 2]} for n in range(12)]


def places(folder: Path) -> Any:
    return partial(locate_rows, claims_root=folder, credentials={})


def read(folder: Path, source: str) -> Records:
    return read_records(source, places(folder))


def load(source: str, **data: Any) -> LabelledTexts:
    spec = Data.model_validate({"train": {"source": source, **data.pop("train", {})}, "cleaning": "Off", **data})
    return load_texts(spec, places(Path("/")), seed=0)


def refusal(folder: Path, source: str = "part-*") -> str:
    with pytest.raises(DataError) as caught:
        list(read(folder, f"file://{folder}/{source}"))
    return str(caught.value)


@pytest.mark.parametrize("kind", WRITERS)
def test_parts_give_the_rows_and_the_digests_of_one_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "parts").mkdir()
    WRITERS[kind](ROWS, tmp_path / "whole")
    for number, start in enumerate((0, 3, 8)):
        part = tmp_path / "parts" / f"part-{number}"
        WRITERS[kind](ROWS[start : (3, 8, 12)[number]], part)
        if number == 1:
            part.write_bytes(gzip.compress(part.read_bytes()))
    (tmp_path / "parts" / "_SUCCESS").touch()
    whole = load(f"file://{tmp_path}/whole", train={"limit": 9})
    for source in ("parts/part-*", "parts"):
        records = read(tmp_path, f"file://{tmp_path}/{source}")
        assert [row for _, row in records] == ROWS
        assert records.read_as.startswith(f"3 files of {kind.split()[0]}")
        assert load(f"file://{tmp_path}/{source}", train={"limit": 9}).splits.digests == whole.splits.digests
    numbers = [number for number, _ in records]
    assert numbers == sorted(set(numbers))
    assert records.where(numbers[4]) == f"file://{tmp_path}/parts/part-1, {records.numbering.counted} " + (
        "3" if kind in ("CSV", "TSV") else "2"
    )


def test_a_broken_row_and_a_bad_value_are_told_with_file_and_line(tmp_path: Path) -> None:
    for number, rows in enumerate((ROWS[:4], ROWS[4:8])):
        WRITERS["JSONL"](rows, tmp_path / f"part-{number}.jsonl")
    with (tmp_path / "part-1.jsonl").open("a") as file:
        file.write('\n{"text": "", "label": "x"}\n')
    with pytest.raises(DataError, match=r"/part-1.jsonl, line 5: 'text' is empty"):
        load(f"file://{tmp_path}/part-*.jsonl")
    with (tmp_path / "part-1.jsonl").open("a") as file:
        file.write("{")
    assert "/part-1.jsonl, line 6: not JSON" in refusal(tmp_path)


def test_objects_of_one_part_may_lack_what_others_have_and_empty_parts_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "part-0.json").write_text('{"text": "a", "label": "x"}\n')
    (tmp_path / "part-1.json").write_bytes(gzip.compress(b""))
    (tmp_path / "part-2.json").write_text('{"text": "b", "more": 1}\n')
    with caplog.at_level(logging.INFO):
        records = read(tmp_path, f"file://{tmp_path}")
    assert records.columns == ("text", "label", "more")
    assert [records.where(number).rsplit("/", 1)[-1] for number, _ in records] == [
        "part-0.json, line 1", "part-2.json, line 1"
    ]  # fmt: skip
    assert "part-1.json is empty and passed over" in caplog.text
    (tmp_path / "part-0.json").write_text("")
    (tmp_path / "part-2.json").write_text(" \n")
    assert "each of the 3 files is empty" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"part-0": "text,label\na,b\n", "part-1": "text,kind\na,b\n"}, "/part-1 has no column 'label', which file:"),
        ({"part-0": "text,label\na,b\n", "part-1": "text,label,kind\na,b,c\n"}, "/part-0 has no column 'kind', which"),
        ({"part-0": "text,label\na,b\n", "part-1": "c,b\nd,b\n"}, "/part-1 the first line looks like a row"),
        ({"part-0": "text,label\na,b\n", "part-1": '{"text": "a"}'}, "/part-1 is JSONL, but file:"),
        ({"part-0": "text,label\na,b\n", "part-1": "a\0b"}, "/part-1: the file is binary"),
        ({"train.csv": "a", "sub/part-1.csv": "a"}, "/part-*: no file there has such a name"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_with_their_names(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert said in refusal(tmp_path)


def test_a_folder_of_other_files_is_refused_with_some_of_them(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\na,b\n")
    said = refusal(tmp_path, "")
    assert (
        "not the numbered parts of one table ('test.csv', 'train.csv'); name a file in it, several by a pattern" in said
    )
    assert "there is no such folder" in refusal(tmp_path, "none/part-*")


def test_a_part_that_leads_out_of_its_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "secret.csv").write_text("text,label\na,b\n")
    (tmp_path / "team" / "part-0.csv").symlink_to("../secret.csv")
    for source in ("pvc://team/part-*.csv", "pvc://team/"):
        with pytest.raises(DataError, match=r"part-0\.csv leaves the claim team"):
            read(tmp_path, source)


def test_sentences_of_several_files_keep_their_lines(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.conll").write_text("\n\n".join(f"it{number}{n}\tO\nAda\tB-name" for n in range(6)))
    data = Data.model_validate({"train": {"source": f"file://{tmp_path}/*.conll"}})
    splits = load_tagged(data, places(tmp_path), seed=0).splits
    assert sum(splits.counts.values()) == 12
    last = max(splits.train, key=lambda row: row.line)
    assert f"{tmp_path}/1.conll, line " in splits.train.where(last)


def test_pictures_of_several_zips_and_tables_are_read_from_their_own(tmp_path: Path) -> None:
    write_folder(tmp_path / "shapes", 12)
    found = sorted((tmp_path / "shapes").rglob("*.png"))
    for number in range(2):
        with zipfile.ZipFile(tmp_path / f"shapes-{number}.zip", "w") as archive:
            for file in found[number::2]:
                archive.write(file, file.relative_to(tmp_path / "shapes"))
        rows = [{"image": file.read_bytes(), "label": file.parent.name} for file in found[number::2]]
        WRITERS["Parquet"](rows, tmp_path / f"table-{number}.parquet")
    wholes = {}
    for source in ("shapes", "shapes-*.zip", "table-*.parquet"):
        data = Data.model_validate({"train": {"source": f"file://{tmp_path}/{source}"}, "cleaning": "Off"})
        splits = load_pictures(data, places(tmp_path), seed=0).splits
        pictures = [*splits.train, *splits.validation]
        wholes[source] = sorted((picture.label, picture.load()) for picture in pictures)
        assert len({picture.name for picture in pictures}) == 12
    assert wholes["shapes"] == wholes["shapes-*.zip"] == wholes["table-*.parquet"]
    assert any(picture.name.startswith("table-1.parquet, row ") for picture in pictures)
