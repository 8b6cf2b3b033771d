"""The door for rows: the same rows in every kind, told by content, in both encodings, and what is refused."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from autoglm_api.locations import locate
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows import json_rows, opened
from autoglm_trainer.rows.door import read_records
from autoglm_trainer.rows.records import Records

ROWS = [
    {"text": 'a "quoted", text', "label": "x"},
    {"text": "two\nlines\u2028of 中文", "label": "y"},
    {"text": "\ttab", "label": None},
]
CHINESE = 'text,label\n"这个模型很好,我非常喜欢它",好\n服务太慢了,差\n'


def arrow(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def write_stream(rows: list[dict[str, Any]], path: Path) -> None:
    table = arrow(rows)
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def quoted(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'


def delimited(separator: str) -> Callable[[list[dict[str, Any]], Path], None]:
    def write(rows: list[dict[str, Any]], path: Path) -> None:
        lines = [separator.join(rows[0]), *(separator.join(map(quoted, row.values())) for row in rows)]
        path.write_text("\n".join(lines), newline="")

    return write


WRITERS: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "CSV": delimited(","),
    "TSV": delimited("\t"),
    "JSON": lambda rows, path: path.write_text(json.dumps(rows, indent=1)),
    "JSONL": lambda rows, path: path.write_text("\n".join(map(json.dumps, rows))),
    "Parquet": lambda rows, path: pq.write_table(arrow(rows), path, row_group_size=2),
    "Arrow": lambda rows, path: pa.feather.write_feather(arrow(rows), path),
    "Arrow stream": write_stream,
}


def read(path: Path) -> Records:
    return read_records(f"file://{path}", lambda uri: locate(uri, claims_root=path.parent, credentials={}))


def refusal(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_is_told_by_its_content_and_gives_the_same_rows(
    tmp_path: Path, kind: str, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows"
    WRITERS[kind](ROWS, path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    with caplog.at_level(logging.INFO):
        records = read(path)
    assert records.format == kind.split()[0]
    assert records.columns == ("text", "label")
    assert [row for _, row in records] == ROWS
    assert [row for _, row in records] == ROWS, "each iteration begins anew"
    assert f"read as {records.format}" in caplog.text


def test_rows_are_numbered_by_their_line_where_a_row_has_one(tmp_path: Path) -> None:
    numbers = {}
    for kind in ("CSV", "JSONL", "Parquet", "JSON"):
        path = tmp_path / kind
        WRITERS[kind](ROWS, path)
        records = read(path)
        numbers[kind] = [records.where(number).split(", ")[-1] for number, _ in records]
    assert numbers["CSV"] == ["line 2", "line 3", "line 5"]
    assert numbers["JSONL"] == ["line 1", "line 2", "line 3"]
    assert numbers["Parquet"] == numbers["JSON"] == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        ("a\tO\nb\tB-x\n\nc\tO\n", "rows", "CoNLL"),
        ("# id\na NN O\n\nb NN B-x", "rows.txt", "CoNLL"),
        ("text\tlabel\na, b\tx\n", "rows", "TSV"),
        ("text,label\na,x\n", "rows.json", "JSON"),
        ('{"text": "a", "label": "b"}\n', "rows.csv", "JSONL"),
        ('[{"text": "a"}]', "rows.jsonl", "JSON"),
        ('{"data": [{"paragraphs": []}]}', "rows.json", "SQuAD"),
    ],
)
def test_texts_are_told_apart_and_the_name_breaks_ties(tmp_path: Path, content: str, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    if kind == "JSON" and name == "rows.json":
        assert "not JSON" in refusal(path, content)
    else:
        assert read(path).format == kind


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("|", "bars"), ("\t", "tabs")])
def test_cells_of_csv_may_be_apart_by_other_signs_and_the_header_tells(
    tmp_path: Path, separator: str, name: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'"a,b"{separator}label\n"x{separator}y"{separator}1,5\n')
    assert str(read(path).detected) == f"CSV, UTF-8, separated by {name}"
    assert [row for _, row in read(path)] == [{"a,b": f"x{separator}y", "label": "1,5"}]
    assert f"line 2: 3 cells where the header has 2; quote texts that hold {name}" in refusal(
        path, f"a{separator}b\n1{separator}2{separator}3\n"
    )


@pytest.mark.parametrize("prefix", ["", "﻿"], ids=["plain", "mark"])
def test_gb18030_and_utf8_give_the_same_rows(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(prefix + CHINESE, encoding="utf-8")
    utf8 = read(path)
    path.with_name("gb.csv").write_text(CHINESE, encoding="gb18030")
    gb = read(path.with_name("gb.csv"))
    assert (utf8.detected.encoding, gb.detected.encoding) == ("UTF-8", "GB18030")
    assert [row for _, row in gb] == [row for _, row in utf8]
    assert utf8.columns == gb.columns == ("text", "label")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("café,b\nGroße Straße,a\n", "latin-1"), ("我們的語言是中文,a\n", "big5"), ("今日はとても,a\n", "shift-jis")],
)
def test_other_encodings_are_not_taken_for_chinese(tmp_path: Path, text: str, encoding: str) -> None:
    said = refusal(tmp_path / "rows.csv", ("text,label\n" + text).encode(encoding))
    assert "line 2: not UTF-8" in said
    assert "save the file as UTF-8" in said


def test_a_sign_that_two_pieces_share_is_read_whole(tmp_path: Path) -> None:
    for start in range(3):
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps({"text": "a" * start + "中" * 2**19}, ensure_ascii=False))
        ((_, row),) = read(path)
        assert row["text"] == "a" * start + "中" * 2**19


def test_squad_gives_a_row_a_question_and_none_where_there_is_no_answer(tmp_path: Path) -> None:
    asked = [
        {"id": "1", "question": "where?", "answers": [{"text": "here", "answer_start": 0}, {"text": "h"}]},
        {"id": "2", "question": "who?", "is_impossible": True, "answers": []},
    ]
    articles = [{"title": "T", "paragraphs": [{"context": "here", "qas": asked}]}] * 2
    path = tmp_path / "dev.json"
    for version in ({"version": "v2.0", "data": articles}, {"data": articles, "version": "v2.0"}):
        path.write_text(json.dumps(version, indent=1))
        rows = [row for _, row in read(path)]
        assert len(rows) == 4
        assert rows[0] == {
            "id": "1", "title": "T", "context": "here", "question": "where?", "answer": "here", "answer_start": 0
        }  # fmt: skip
        assert rows[1]["answer"] is rows[1]["answer_start"] is None
    assert "not as SQuAD has it" in refusal(path, '{"data": [{"paragraphs": [{"qas": [{}]}]}]}')


def test_columnar_values_are_as_json_has_them(tmp_path: Path) -> None:
    rows = [
        {"when": datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "much": Decimal("1.50"), "nan": float("nan"),
         "several": ["a", None], "parts": {"a": 1}, "image": b"\x89PNG"},
    ]  # fmt: skip
    path = tmp_path / "rows.parquet"
    pq.write_table(arrow(rows), path)
    records = read(path)
    assert "image" not in records.columns
    ((_, row),) = records
    assert row.pop("when") == "2026-01-02T03:04:00+00:00"
    assert row == {"much": 1.5, "nan": None, "several": ["a", None], "parts": {"a": 1}}


@pytest.mark.parametrize("kind", ["Parquet", "Arrow", "Arrow stream"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows"
    WRITERS[kind](ROWS, path)
    assert "not readable as" in refusal(path, path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_gzip_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(CHINESE.encode() * 50)
    assert "cannot be read" in refusal(tmp_path / "rows.csv.gz", content[:-20])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04....", "a zip archive (Excel files are, too)"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"a\0b", "binary, of no known format"),
        ("text,label\na,b\n".encode("utf-16-le"), "the file is UTF-16; save it as UTF-8"),
        (b"\x89PNG\r\n", "a single picture; name a folder of pictures"),
        (b"a/1.png".ljust(257, b"\0") + b"ustar\0", "a tar archive; unpack it, or write a zip"),
        ('{"a": 1}\n{"a": 2, "b', "line 2: not JSON (it ends within the object)"),
        ('{\n "rows": []}', "line 1: not JSON (it ends within the object); each line must be one object"),
        ('{"a": 1}\n{"a": b}', "line 2: not JSON (Expecting value at character 7)"),
        ('a,b\n1,2\n"3,4\n5,6\n', "line 3: a quote opens in this row and the file ends before it closes"),
        ("[{},\n{},\n", "line 3: not JSON (Expecting value)"),
        ("[{}\n{}]", "line 2: not JSON ('{' where ',' or ']' is needed)"),
        ("[{}", "it ends within the array"),
        ('[{"a": 1}, 2]', "row 2: int where an object is needed"),
        ('{"a": 1}\n2', "line 2: int where an object is needed"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "[" * 100_000, "not JSON"),
        ("a,a\n1,2\n", "'a' stands there 2 times; keep one"),
    ],
    ids=range(18),
)
def test_what_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path, content: bytes | str, said: str) -> None:
    message = refusal(tmp_path / "rows", content)
    assert said in message, message


def test_a_line_and_a_value_without_end_are_refused_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "LONGEST_LINE", 1_000)
    monkeypatch.setattr(json_rows, "_LARGEST", 1_000)
    monkeypatch.setattr(json_rows, "_PIECE", 100)
    assert "line 2: longer than 1,000 characters" in refusal(tmp_path / "rows", "a,b\n" + "x" * 2_000)
    assert "Unterminated string" in refusal(tmp_path / "rows.json", '[{"a": "' + "x" * 100_000)
