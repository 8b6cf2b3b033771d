"""Tables as the Hugging Face hub stores them: pictures in a column, classes as numbers whose names the schema has."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.trainer.rows.test_fuzz import broken
from tests.trainer.task.drawing import SHAPES, draw, png, write_folder

from autoglm_api.locations import locate_rows
from autoglm_api.pictures import MAX_PIXELS
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError
from autoglm_trainer.pictures.album import Album
from autoglm_trainer.rows import columnar
from autoglm_trainer.rows.door import read_records
from autoglm_trainer.rows.images import LabelledPictures, load_pictures
from autoglm_trainer.rows.records import Records
from autoglm_trainer.rows.tables import load_table
from autoglm_trainer.rows.tagged import load_tagged
from autoglm_trainer.rows.texts import load_texts

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LABEL = {"_type": "ClassLabel", "names": list(SHAPES)}
Writer = Callable[[pa.Table, Path], Any]


def write_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)


WRITERS: dict[str, Writer] = {
    "Parquet": lambda table, path: pq.write_table(table, path, row_group_size=7),
    "Arrow": lambda table, path: pa.feather.write_feather(table, path, chunksize=5),
    "Arrow stream": write_stream,
}


def hub_table(columns: dict[str, pa.Array], features: dict[str, Any] | None) -> pa.Table:
    """With the metadata that `datasets` writes; without `features` a table of somebody else."""
    told = {} if features is None else {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(columns).replace_schema_metadata(told)


def pictures_table(images: list[Any], labels: list[Any], *, told: bool = True) -> pa.Table:
    features = {"image": {"_type": "Image"}, "label": LABEL}
    return hub_table({"image": pa.array(images, PICTURE), "label": pa.array(labels)}, features if told else None)


def held(content: bytes | None, path: str | None = None) -> dict[str, Any]:
    return {"bytes": content, "path": path}


def opened(path: Path) -> Records:
    return read_records(path.as_uri(), partial(locate_rows, claims_root=path.parent, credentials={}))


def load(path: Path, loader: Callable[..., Any] = load_pictures, **data: Any) -> Any:
    spec = Data.model_validate({"train": {"source": path.as_uri()}, **data})
    return loader(spec, partial(locate_rows, claims_root=path.parent, credentials={}), seed=3)


@pytest.mark.parametrize("kind", WRITERS)
def test_pictures_in_a_column_are_the_rows_that_a_folder_of_them_gives(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "_PICTURE_ROWS", 4)
    write_folder(tmp_path / "shapes", 30)
    files = sorted((tmp_path / "shapes").rglob("*.png"))
    images = [held(file.read_bytes(), file.name) for file in files]
    WRITERS[kind](pictures_table(images, [SHAPES.index(file.parent.name) for file in files]), tmp_path / "rows")
    records = opened(tmp_path / "rows")
    assert (records.columns, records.pictures) == (("label",), ("image",))
    found: list[LabelledPictures] = [load(tmp_path / name) for name in ("rows", "shapes")]
    assert found[0].labels == SHAPES
    assert found[0].splits.digests == found[1].splits.digests
    for split in ("validation", "train", "validation"):
        seen = [Album(each.splits, 3).pixels(split, 16, "squeeze") for each in found]
        assert (seen[0] == seen[1]).all()


def test_pictures_are_known_without_the_hub_s_word_and_other_bytes_are_not_taken_for_them(tmp_path: Path) -> None:
    content = png(draw("disc", 1))
    columns = {
        "photo": pa.array([None, content, content]),
        "hash": pa.array([b"\x00\x01", b"\x02", b""]),
        "sound": pa.array([held(b"RIFF")] * 3, PICTURE),
        "words": pa.array(["a", "b", "c"]),
    }
    pq.write_table(hub_table(columns, None), tmp_path / "rows")
    assert (opened(tmp_path / "rows").columns, opened(tmp_path / "rows").pictures) == (("words",), ("photo",))
    assert next(row["photo"] for _, row in opened(tmp_path / "rows")) is None
    features = {"photo": {"_type": "Audio"}, "hash": {"_type": "Value", "dtype": "binary"}}
    pq.write_table(hub_table(columns, features), tmp_path / "rows")
    assert opened(tmp_path / "rows").pictures == ()


def test_rows_without_a_picture_are_cleaned_away_and_a_path_alone_is_a_file_beside_the_table(tmp_path: Path) -> None:
    write_folder(tmp_path / "shapes", 6)
    images = [held(png(draw(SHAPES[n % 3], n))) for n in range(40, 52)]
    images += [None, held(None), held(None, "shapes/disc/001.png")]
    pq.write_table(pictures_table(images, [*(n % 3 for n in range(12)), 0, 0, 1]), tmp_path / "rows")
    with pytest.raises(DataError, match="row 13: 'image' is empty"):
        load(tmp_path / "rows", cleaning="Off")
    cleaned = load(tmp_path / "rows", validation={"fraction": 0.25})
    assert sum(cleaned.splits.counts.values()) == 13


def _wide() -> bytes:
    return png(Image.new("1", (MAX_PIXELS // 1_000 + 1, 1_000)))


REFUSED: dict[str, tuple[Any, Any]] = {
    "rows, row 3: 'image' is not an image that can be read": (held(b"GIF? no"), 1),
    "rows, row 3: 'image' has 50001 x 1000 pixels; at most 50,000,000 in all": (held(_wide()), 1),
    "rows, row 3: the image '../a.png' does not lie below the table's folder": (held(None, "../a.png"), 1),
    "rows, row 3: 'label' is 3, but the schema names 3 classes, from 0": (held(png(draw("disc", 9))), 3),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_wrong_is_named_by_source_and_row(tmp_path: Path, said: str) -> None:
    image, label = REFUSED[said]
    images = [held(png(draw(shape, n))) for n, shape in enumerate(SHAPES * 2)]
    pq.write_table(pictures_table([*images[:2], image, *images[2:]], [0, 1, label, 2, 0, 1, 2]), tmp_path / "rows")
    with pytest.raises(DataError) as refused:
        load(tmp_path / "rows")
    assert said in str(refused.value)


def test_a_broken_picture_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    images = [held(png(draw(SHAPES[n % 3], n))) for n in range(9)]
    images[4] = held(images[4]["bytes"][:-400])
    pq.write_table(pictures_table(images, [n % 3 for n in range(9)]), tmp_path / "rows")
    found = load(tmp_path / "rows", validation={"source": write_folder(tmp_path / "other", 3, start=70)})
    with pytest.raises(DataError, match="rows, row 5: 'image' is a broken PNG image"):
        Album(found.splits, 3).pixels("train", 16, "squeeze")


CLASSES = {"_type": "ClassLabel", "names": ["neg", "pos"]}


def test_numbers_of_classes_become_their_names_for_every_task(tmp_path: Path) -> None:
    texts = {"text": pa.array([f"text {n}" for n in range(10)]), "label": pa.array([n % 2 for n in range(10)])}
    pq.write_table(hub_table(texts, {"text": {"_type": "Value"}, "label": CLASSES}), tmp_path / "rows")
    assert load(tmp_path / "rows", load_texts).labels == ("neg", "pos")
    table = partial(load_table, roles={"label": "label"}, answer="label")
    assert {row.answer for row in load(tmp_path / "rows", table).splits.train} == {"neg", "pos"}


@pytest.mark.parametrize("kind", ["Sequence", "List", "plain"])
def test_so_do_those_in_lists(tmp_path: Path, kind: str) -> None:
    names = {"_type": "ClassLabel", "names": ["O", "B-per", "I-per"]}
    columns = {"tokens": pa.array([["it", f"Ada{n}", "L"] for n in range(8)]), "ner_tags": pa.array([[0, 1, 2]] * 8)}
    feature = [names] if kind == "plain" else {"_type": kind, "feature": names}
    pq.write_table(hub_table(columns, {"ner_tags": feature}), tmp_path / "rows")
    assert load(tmp_path / "rows", load_tagged, columns={"tags": "ner_tags"}).labels == ("O", "B-per", "I-per")


def test_a_class_that_nobody_has_told_is_missing_and_words_stay_words(tmp_path: Path) -> None:
    for values, said in (([0, -1, 1], ["neg", None, "pos"]), (["a", "b", "c"], ["a", "b", "c"])):
        table = hub_table({"label": pa.array(values)}, {"label": CLASSES})
        pq.write_table(table, tmp_path / "rows")
        assert [row["label"] for _, row in opened(tmp_path / "rows")] == said


CONTENT = pa.BufferOutputStream()
pq.write_table(pictures_table([held(png(draw(SHAPES[n % 3], n))) for n in range(9)], [0, 1, 2] * 3), CONTENT)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_broken_file_of_pictures_gives_rows_or_a_sentence(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        path.write_bytes(data.draw(broken(CONTENT.getvalue().to_pybytes())))
        said = None
        try:
            Album(load(path).splits, 3).pixels("train", 8, "squeeze")
        except DataError as error:
            said = str(error)
        assert said is None or ("rows" in said and 20 < len(said) < 2_000), said
