"""`autoglm inspect` shows what would be read, and ends with a sentence where nothing can be."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.task.drawing import draw, png, write_folder
from typer.testing import CliRunner

from autoglm_cli.errors import CliError, UsageError
from autoglm_cli.main import app


def inspect(*arguments: str) -> str:
    answer = CliRunner().invoke(app, ["inspect", *arguments], env={"COLUMNS": "300"})
    if answer.exception is not None:
        raise answer.exception
    return " ".join(answer.output.split())


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def test_rows_columns_labels_problems_and_the_task_are_shown(tmp_path: Path) -> None:
    words = {"good": "lovely great fine", "bad": "awful poor sad"}
    rows: list[dict[str, Any]] = [
        {"text": f"{words[label].split()[n % 3]} {label} thing {n}", "label": label}
        for n in range(20)
        for label in words
    ]
    rows += [{"text": "lovely good great thing", "label": "bad", "stars": 4}, {"text": "", "label": "bad"}, rows[0]]
    rows += [{**rows[1], "label": "good"}]
    said = inspect(write(tmp_path / "rows.jsonl", rows))
    for part in (
        "read as JSONL, UTF-8",
        "rows 44",
        "stars whole number, 43 missing (98%), 1 different, 4 to 4",
        "good 22",
        "task text-classification",
        "left out: 'text' is empty 1 row; first rows.jsonl, line 42",
        "left out: repeats an earlier row 1 row; first rows.jsonl, line 43, as line 1",
        "one text, two labels rows.jsonl, line 44",
        "label in doubt rows.jsonl, line 41: 'lovely good great thing' is bad; by the other rows good",
    ):
        assert part in said, said


def test_a_role_or_column_that_is_not_there_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [{"text": "fine", "label": "a"}])
    with pytest.raises(UsageError, match=r"--column txt=text: no task has a column txt; did you mean text\?"):
        inspect(file, "--column", "txt=text")
    with pytest.raises(UsageError, match="tabular-regression has no column text; did you mean"):
        inspect(file, "--task", "tabular-regression", "--column", "text=text")
    with pytest.raises(UsageError, match="--column text=body: the rows have no column body; known: label, text"):
        inspect(file, "--column", "text=body")


def test_of_a_table_kinds_of_columns_and_answers_that_would_be_refused_are_shown(tmp_path: Path) -> None:
    rows = [
        {"id": f"K{n}", "age": n * 7 % 23 if n % 5 else "-", "since": f"{n % 28 + 1:02d}.03.2026", "label": "ab"[n % 2]}
        for n in range(60)
    ]
    file = write(tmp_path / "rows.jsonl", [*rows, {**rows[1], "label": None}, {**rows[1], "label": "rare"}])
    said = inspect(file)
    for part in (
        "age number; '-' counts as missing",
        "since category; they look like dates: write 2026-11-28",
        "id left out: it names the rows",
        "'label' is missing 1 rows; first rows.jsonl, line 61; each row needs a text, a number or a boolean",
        "classes of a single row rare: never judged on",
    ):
        assert part in said, said
    said = inspect(file, "--task", "tabular-regression", "--column", "target=since")
    assert (
        "'since' is of the wrong kind 62 rows; first rows.jsonl, line 1: \"01.03.2026\"; each row needs a num" in said
    )


def test_columns_and_task_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("这,那\n很好,a\n不好,b\n", encoding="gb18030")
    assert "finds no task" in inspect(str(file))
    said = inspect(str(file), "--task", "text-classification", "--column", "text=这", "--column", "label=那")
    assert "CSV, GB18030" in said
    assert "columns text = 这, label = 那" in said


def test_what_only_late_rows_have_counts_as_missing_before(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "a", "label": "x"}] * 1_500
    said = inspect(write(tmp_path / "rows.jsonl", [*rows, {"text": "b", "label": "y", "late": 1}]))
    assert "late whole number, 1,500 missing (100%), 1 different" in said


def test_a_table_is_told_from_a_text(tmp_path: Path) -> None:
    rows = [{"age": n, "job": "abc"[n % 3], "label": "xy"[n % 2]} for n in range(12)]
    said = inspect(write(tmp_path / "rows.jsonl", rows))
    assert "task tabular-classification" in said
    assert "Labels (label) x 6 y 6" in said


def test_tags_of_conll_are_counted(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("Ada\tB-name\nwrote\tO\n\nit\tO\n")
    said = inspect(str(tmp_path / "rows"))
    assert "read as CoNLL" in said
    assert "task token-classification" in said
    assert "columns tokens = 1, tags = 2" in said
    assert "O 2 B-name 1" in said


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_are_shown_as_a_study_reads_them(tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "pictures"
    write_folder(folder, 12)
    (folder / "bar" / "dup.png").write_bytes((folder / "bar" / "000.png").read_bytes())
    (folder / "ring" / "dup.png").write_bytes((folder / "bar" / "000.png").read_bytes())
    for name in ("notes.txt", "__MACOSX/bar/._000.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    write_folder(folder / "new", 1)
    if packed:
        with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, file.relative_to(tmp_path))
    said = inspect(str(tmp_path / "pictures.zip" if packed else folder))
    for part in (
        "read as Images rows 15",
        "image pictures label text, 4 different",
        "task image-classification",
        "Labels (label) bar 5 ring 5 disc 4 new/bar 1",
        "grey 0 in colours 14 24 x 24 15",
        "left out: repeats an earlier row 1 row; first",
        'as row 1: "bar/dup.png"',
        "one picture, two labels new/bar/000.png: new/bar; bar/000.png is the same picture and says bar",
        "labels of one picture new/bar: trained on, never held out",
        "passed over 2 files that are hidden or no images",
    ):
        assert part in said, said


def test_all_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "pictures", 6)
    for name, content in (("no.png", b"no"), ("cut.png", png(draw("disc", 1))[:-400])):
        (tmp_path / "pictures" / "disc" / name).write_bytes(content)
    answer = CliRunner().invoke(app, ["inspect", str(tmp_path / "pictures")], env={"COLUMNS": "300"})
    assert "disc/no.png is not an image that can be read" in answer.output
    assert "disc/cut.png is a broken PNG image" in answer.output
    assert isinstance(answer.exception, CliError)
    assert "2 of 8 pictures are refused" in str(answer.exception)


def test_nodes_and_edges_are_told_from_tables(tmp_path: Path) -> None:
    nodes = [{"id": n, "label": "ab"[n % 2], "words": ["x"]} for n in range(4)]
    assert "columns node = id, words = words, label = label" in inspect(write(tmp_path / "nodes.jsonl", nodes))
    edges = inspect(write(tmp_path / "edges.jsonl", [{"source": 0, "target": n} for n in range(1, 4)]))
    assert "target whole number, 3 different, 1 to 3" in edges
    assert "task node-classification" in edges
    assert "Labels" not in edges


@pytest.mark.parametrize(
    ("content", "options", "said", "code"),
    [
        (None, (), "there is no such file", 2),
        (b"", (), "the file is empty", 1),
        (b"caf\xe9\n", (), "not UTF-8", 1),
        (b"text,label\na,b\n", ("--task", "text-classifikation"), "unknown task", 2),
        (b"text,label\na,b\n", ("--column", "text"), "write ROLE=NAME", 2),
        (b"text,label\na,b\n", ("--task", "question-answering"), "question-answering cannot read it", 1),
    ],
)
def test_what_cannot_be_read_ends_with_a_sentence(
    tmp_path: Path, content: bytes | None, options: tuple[str, ...], said: str, code: int
) -> None:
    file = tmp_path / "rows.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CliError, match=said) as caught:
        inspect(str(file), *options)
    assert caught.value.exit_code == code
