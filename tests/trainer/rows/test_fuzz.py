"""Broken files of every format, read for every task: either rows, or a sentence that names the file; nothing else."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.trainer.rows.test_door import WRITERS

from autoglm_api.locations import locate_rows
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.prompts import load_prompts
from autoglm_trainer.rows.questions import load_questions
from autoglm_trainer.rows.tagged import load_tagged
from autoglm_trainer.rows.texts import load_texts

LOADERS: tuple[Callable[..., Any], ...] = (load_texts, load_tagged, load_questions, load_prompts)
COLUMNS = {load_texts: {"text": "question", "label": "label"}, load_prompts: {"prompt": "question"}}
ROWS = [
    {
        "question": f"who {n}?",
        "context": f"it was 中{n}, Ada",
        "answer": "Ada",
        "answer_start": f"{10 + len(str(n))}",
        "label": "ab"[n % 2],
        "tokens": "it was Ada",
        "tags": "O O B-name",
    }
    for n in range(12)
]
SQUAD = {
    "version": "v2.0",
    "data": [
        {"title": "t", "paragraphs": [{"context": f"it was Ada {n}", "qas": [
            {"id": f"{n}", "question": "who?", "answers": [{"text": "Ada", "answer_start": 7}]},
            {"id": f"{n}b", "question": "why?", "answers": [], "is_impossible": True},
        ]}]}
        for n in range(6)
    ],
}  # fmt: skip
SNIPPETS = (
    b"\0", b"\xff", b"\xff\xfe", b'"', b"{", b"[", b"]", b"}", b"\n", b"\r", b"\t", b",", b":", b"\\", b"null", b"NaN",
    b"1e999", b"-", "²".encode(), "。".encode("gb18030"), b"\\ud83d",
    b"[[[[", b'{"a":', b"PAR1", b"ARROW1\0\0", b"\x1f\x8b",
    b"9" * 5_000,
    b"true", b'""',
)  # fmt: skip


def contents() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            path = Path(folder, "rows")
            write(ROWS, path)
            found[name] = path.read_bytes()
    found["SQuAD"] = json.dumps(SQUAD, indent=1).encode()
    found["CoNLL"] = "\n\n".join(f"it{n}\tO\nwas\tO\nAda\tB-name" for n in range(8)).encode()
    found["GB18030"] = found["CSV"].decode().encode("gb18030")
    found["gzip"] = gzip.compress(found["JSONL"])
    return found


CONTENTS = contents()


@st.composite
def broken(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some places overwritten, cut out or filled in, and perhaps without its end."""
    found = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(found)))
        length = draw(st.sampled_from((0, 1, 1, 2, 8, 100)))
        found[start : start + length] = draw(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=8)))
    return bytes(found[: draw(st.integers(0, len(found)))] if draw(st.booleans()) else found)


def read_for_every_task(path: Path) -> None:
    for load in LOADERS:
        data = Data.model_validate({"train": {"source": f"file://{path}"}, "columns": COLUMNS.get(load, {})})
        said = None
        try:
            load(data, partial(locate_rows, claims_root=path.parent, credentials={}), seed=0)
        except DataError as error:
            said = str(error)
        assert said is None or (path.name in said and 20 < len(said) < 2_000), said


@pytest.mark.parametrize("kind", CONTENTS)
@given(
    data=st.data(), name=st.sampled_from(("rows", "rows.csv", "rows.jsonl", "rows.conll", "rows.parquet", "rows.json"))
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_broken_file_gives_rows_or_a_sentence(kind: str, data: st.DataObject, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data.draw(broken(CONTENTS[kind])))
        read_for_every_task(path)


CELLS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(("O", "B-a", "²", "-1")),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(("text", "answer_start")), inner)
    ),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(list(ROWS[0])), CELLS), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rows_of_any_values_give_rows_or_a_sentence(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        for content in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
            path.write_text(content)
            read_for_every_task(path)


def test_what_is_not_broken_is_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind, content in CONTENTS.items():
            path = Path(folder, "rows")
            path.write_bytes(content)
            load = load_tagged if kind == "CoNLL" else load_questions
            data = Data.model_validate({"train": {"source": f"file://{path}"}})
            load(data, partial(locate_rows, claims_root=path.parent, credentials={}), seed=0)
