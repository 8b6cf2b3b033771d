"""Tagged sentences: three formats, splits, and every refusal with its sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoglm_api.locations import locate
from autoglm_api.study import Data
from autoglm_serving.tasks.token_classification import split_words
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.tagged import TaggedSentences, load_tagged


def load(tmp_path: Path, content: str, *, name: str = "t.jsonl", seed: int = 0, **data: Any) -> TaggedSentences:
    (tmp_path / name).write_bytes(content.encode())
    spec = Data.model_validate({"train": {"source": f"file://{tmp_path}/{name}"}, "cleaning": "Off", **data})
    return load_tagged(spec, lambda uri: locate(uri, claims_root=tmp_path, credentials={}), seed=seed)


def refusal(tmp_path: Path, content: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(tmp_path, content, **options)
    return str(caught.value)


def row(words: str, tags: str) -> str:
    return json.dumps({"tokens": words.split(), "tags": tags.split()}, ensure_ascii=False) + "\n"


JSONL = row("#deep red sky", "B-a I-a O") + row("天 空", "B-b I-b") + row("grass", "O")
CONLL = "# by hand\n-DOCSTART- O\n\n#deep\tB-a\nred\tI-a\nsky\tO\n\n天\tB-b\n空\tI-b\n\n# of the end\n\ngrass\tO\n"
WIDE = "# id = 1\n#deep JJ B-a x\nred JJ I-a x\nsky NN O x\n\n天 N B-b x\n空 N I-b x\n\ngrass NN O x"


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("t.csv", 'tokens,tags\n#deep red sky,B-a I-a O\n"天 空",B-b I-b\ngrass,O\n', {}),
        ("t.conll", CONLL, {}),
        ("t.conll", "\ufeff" + CONLL.replace("\n", "\r\n"), {}),
        ("t.bio", WIDE.replace(" x", ""), {}),
        ("t.iob", WIDE, {"tokens": "1", "tags": "3"}),
    ],
    ids=["csv", "conll", "crlf", "spaces", "numbered"],
)
def test_the_same_sentences_have_the_same_digest_in_every_format(
    tmp_path: Path, name: str, content: str, columns: dict[str, str]
) -> None:
    expected = load(tmp_path, JSONL, validation={"source": f"file://{tmp_path}/t.jsonl"})
    (tmp_path / name).write_bytes(content.encode())
    found = load(tmp_path, content, name=name, columns=columns, validation={"source": f"file://{tmp_path}/{name}"})
    assert found.splits.digests == expected.splits.digests
    assert [(r.words, r.tags) for r in found.splits.train.rows] == [
        (r.words, r.tags) for r in expected.splits.train.rows
    ]
    assert found.labels == ("O", "B-a", "I-a", "B-b", "I-b")


def test_held_out_sentences_follow_the_seed_and_hold_every_type(tmp_path: Path) -> None:
    rows = [row(f"x{n} y", "B-rare O" if n % 10 == 0 else "B-often I-often") for n in range(50)]
    rows += [row(f"plain {n}", "O O") for n in range(50)]
    first, again, other = (load(tmp_path, "".join(rows * 2), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.splits.validation != other.splits.validation
    assert set().union(*(sentence.types for sentence in first.splits.validation.rows)) == {"rare", "often"}
    assert not {r.words for r in first.splits.train.rows} & {r.words for r in first.splits.validation.rows}
    assert len(first.splits.train) + len(first.splits.validation) == 200


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (row("a b", "O I-x"), "t.jsonl", ["line 1, word 2 ('b')", "'I-x' follows 'O'", "begins with 'B-x'", "IOB1"]),
        (row("a b", "B-y I-x"), "t.jsonl", ["'I-x' follows 'B-y'"]),
        (row("a", "I-x"), "t.jsonl", ["word 1", "'I-x' follows 'O'"]),
        (row("a", "U-x"), "t.jsonl", ["'U-x' is of BILOU or BIOES", "convert the file to BIO"]),
        (row("a b", "B-x E-x"), "t.jsonl", ["word 2 ('b')", "BIOES"]),
        (row("a", "person"), "t.jsonl", ["'person' is none of O, B-<type> and I-<type>"]),
        (row("a", "B-"), "t.jsonl", ["'B-' is none of"]),
        ('{"tokens": ["a"], "tags": [3]}\n', "t.jsonl", ["'3' is a number; write the tag's name"]),
        (JSONL + row("a b c", "O O"), "t.jsonl", ["line 4", "3 words in 'tokens', 2 tags in 'tags'"]),
        ('{"tokens": ["a", " "], "tags": ["O", "O"]}\n', "t.jsonl", ["word 2", "the word is empty (' ')"]),
        ('{"tokens": [], "tags": []}\n', "t.jsonl", ["line 1", "'tokens' is empty"]),
        ('{"tokens": ["a", null], "tags": ["O", "O"]}\n', "t.jsonl", ["'tokens', word 2, is null", "as a string"]),
        ('{"tokens": {"a": 1}, "tags": ["O"]}\n', "t.jsonl", ["'tokens' is {", "as a string"]),
        ('{"tokens": ["\\ud83d"], "tags": ["O"]}\n', "t.jsonl", ["'tokens', word 1, holds half of a surrogate"]),
        ('{"words": ["a"], "tags": ["O"]}\n', "t.jsonl", ["no column 'tokens'", "'words', 'tags'", "data.columns"]),
        ('{"tokens": ["a"\n', "t.jsonl", ["line 1: not JSON", "one object such as"]),
        ("", "t.jsonl", ["the file is empty"]),
        ("\n\n", "t.conll", ["the file is empty"]),
        ("x\ny\n", "t.parquet", ["no column 'tokens'", "read as CSV"]),
        ("a O\nb O\n\nc NN O\n", "t.conll", ["line 4: 3 columns where the lines before have 2"]),
        ("a\nb\n", "t.conll", ["1 column where 2 are needed", "a tab or a space"]),
        ("tokens,tags\na b,O\n", "t.csv", ["line 2", "2 words in 'tokens', 1 tags"]),
        ("a O\n#b person\n", "t.conll", ["word 2 ('#b')", "'person' is none of"]),
        (row("a", "O") * 3, "t.jsonl", ["all words of all 3 training sentences are O"]),
    ],
)
def test_bad_sentences_are_refused_with_a_sentence(tmp_path: Path, content: str, name: str, said: list[str]) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(JSONL)
    message = refusal(tmp_path, content, name=name, validation={"source": f"file://{good}"})
    for part in (name, *said):
        assert part in message, message


@pytest.mark.parametrize("column", ["0", "4"])
def test_a_column_that_a_conll_file_does_not_have_is_refused(tmp_path: Path, column: str) -> None:
    said = refusal(tmp_path, "a x O\n", name="t.conll", columns={"tags": column})
    assert f"no column {column}, there are 3; data.columns counts from 1" in said


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_entity_type_that_was_never_trained_is_refused(tmp_path: Path, split: str) -> None:
    (tmp_path / "more.jsonl").write_text(row("a b", "B-a O") + row("c", "B-new"))
    said = refusal(tmp_path, JSONL + row("fire", "O"), **{split: {"source": f"file://{tmp_path}/more.jsonl"}})
    assert f"more.jsonl, line 2: the entity type 'new' stands in the {split} rows only" in said


def test_the_shipped_sentences_are_split_as_the_server_splits_a_text_and_none_stands_in_two_splits() -> None:
    folder = Path(__file__).parents[3] / "examples" / "data" / "support_en"
    sources = {split: {"source": f"file://{folder}/{split}.jsonl"} for split in ("train", "validation", "test")}
    spec = Data.model_validate(sources)
    data = load_tagged(spec, lambda uri: locate(uri, claims_root=folder, credentials={}), seed=0)
    sentences = [row.words for rows in data.splits.by_name.values() for row in rows]
    for words in sentences:
        text = " ".join(words)
        assert tuple(text[start:end] for start, end in split_words(text)) == words
    assert len(set(sentences)) == len(sentences) == 340
    assert len(data.labels) == 11
