"""Pictures from folders, zips and tables: read alike, split by class, and refused with a sentence."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.trainer.task.drawing import SHAPES, base64_of, draw, picture_rows, png, write_folder
from tests.trainer.task.making import make_places, write_rows

from autoglm_api.pictures import MAX_PIXELS, PictureError, decode, pixels
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError
from autoglm_trainer.pictures.album import Album
from autoglm_trainer.rows.images import LabelledPictures, load_pictures


def load(folder: Path, train: str, **data: Any) -> LabelledPictures:
    spec = Data.model_validate({"train": {"source": train}, **data})
    return load_pictures(spec, make_places(folder).data, seed=3)


def zipped(path: Path, folder: Path, *, below: str = "") -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"{below}{file.relative_to(folder)}")
    return path.as_uri()


def test_a_folder_a_zip_and_tables_of_the_same_pictures_are_the_same_rows(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    source = write_folder(folder, 30)
    files = sorted(folder.rglob("*.png"))
    named = [{"image": f"shapes/{file.relative_to(folder)}", "label": file.parent.name} for file in files]
    held = [{"image": base64_of(Image.open(file)), "label": file.parent.name} for file in files]
    sources = [
        source,
        zipped(tmp_path / "plain.zip", folder),
        zipped(tmp_path / "shapes.zip", folder, below="shapes/"),
        write_rows(tmp_path / "named.jsonl", named),
        write_rows(tmp_path / "held.jsonl", held),
    ]
    read = [load(tmp_path, each) for each in sources]
    assert {each.labels for each in read} == {tuple(sorted(SHAPES))}
    assert {each.splits.digests.model_dump_json() for each in read} == {read[0].splits.digests.model_dump_json()}
    arrays = [Album(each.splits, 3).pixels("train", 16, "squeeze") for each in read]
    assert all((each == arrays[0]).all() for each in arrays)


def test_validation_is_held_out_class_by_class_and_equal_files_stay_together(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    source = write_folder(folder, 60)
    twin = next((folder / "disc").iterdir())
    (folder / "disc" / "twin.png").write_bytes(twin.read_bytes())
    found = load(tmp_path, source, validation={"fraction": 0.25})
    held = [row.label for row in found.splits.validation]
    assert {label: held.count(label) for label in SHAPES} == dict.fromkeys(SHAPES, 5) | {"disc": held.count("disc")}
    assert found.splits.overlap("validation") == 0


def test_nested_folders_name_the_class_and_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    for label in ("latin/a", "latin/b", "greek/a"):
        write_folder(tmp_path / "letters" / label, 2, shapes=["disc"])
    (tmp_path / "letters" / "README.md").write_text("about")
    (tmp_path / "letters" / ".hidden").mkdir()
    (tmp_path / "letters" / ".hidden" / "x.png").write_bytes(b"")
    found = load(tmp_path, (tmp_path / "letters").as_uri())
    assert found.labels == ("greek/a/disc", "latin/a/disc", "latin/b/disc")


def _bomb() -> bytes:
    wide = Image.new("1", (MAX_PIXELS // 1_000 + 1, 1_000))
    return png(wide)


BROKEN = {
    "is not an image that can be read": b"GIF? no",
    "is a broken PNG image": png(draw("disc", 1))[:-400],
    "pixels; at most 50,000,000": _bomb(),
}


@pytest.mark.parametrize("said", BROKEN)
@pytest.mark.parametrize("kind", ["folder", "zip", "table"])
def test_a_picture_that_cannot_be_read_is_refused_by_name(tmp_path: Path, said: str, kind: str) -> None:
    folder = tmp_path / "shapes"
    source = write_folder(folder, 12)
    (folder / "disc" / "bad.png").write_bytes(BROKEN[said])
    if kind == "zip":
        source = zipped(tmp_path / "shapes.zip", folder)
    if kind == "table":
        rows = [{"image": f"shapes/{shape}/{index:03}.png", "label": shape} for index, shape in enumerate(SHAPES * 2)]
        source = write_rows(tmp_path / "rows.jsonl", [*rows, {"image": "shapes/disc/bad.png", "label": "disc"}])
    with pytest.raises(DataError) as refused:
        look_at(tmp_path, source, write_folder(tmp_path / "more", 6, start=50))
    assert source in str(refused.value)
    assert "disc/bad.png" in str(refused.value)
    assert said in str(refused.value)


def test_a_picture_that_changes_before_it_is_decoded_is_not_trained_on(tmp_path: Path) -> None:
    found = load(tmp_path, write_folder(tmp_path / "shapes", 6), validation={"fraction": 0.5})
    for file in (tmp_path / "shapes").rglob("*.png"):
        file.write_bytes(png(draw("ring", 99)))
    with pytest.raises(DataError, match=r"shapes: .*/00[0-5].png changed while it was read"):
        Album(found.splits, 3).pixels("train", 16, "squeeze")


def look_at(folder: Path, train: str, validation: str) -> None:
    """Everything of it is decoded."""
    Album(load(folder, train, validation={"source": validation}).splits, 3).pixels("train", 16, "squeeze")


REFUSED = {
    "lies in no folder that would be its label": lambda folder: (folder / "a.png").write_bytes(png(draw("disc", 0))),
    "none of the 1 files below is an image": lambda folder: (folder / "a.txt").write_text("no"),
    "all 3 training pictures have the label 'disc'": lambda folder: write_folder(folder, 4, shapes=["disc"]),
}


@pytest.mark.parametrize("said", REFUSED)
def test_folders_without_classes_are_refused(tmp_path: Path, said: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    REFUSED[said](folder)
    with pytest.raises(DataError, match=said):
        load(tmp_path, folder.as_uri())


def test_paths_of_a_zip_that_lead_elsewhere_are_passed_over_or_refused(tmp_path: Path) -> None:
    source = zipped(tmp_path / "shapes.zip", Path(write_folder(tmp_path / "shapes", 6).removeprefix("file://")))
    with zipfile.ZipFile(tmp_path / "shapes.zip", "a") as archive:
        archive.writestr("../elsewhere/1.png", png(draw("disc", 0)))
    assert load(tmp_path, source, validation={"source": source}).labels == SHAPES
    with zipfile.ZipFile(tmp_path / "shapes.zip", "a") as archive:
        archive.writestr("/elsewhere/1.png", png(draw("disc", 0)))
    with pytest.raises(DataError, match=r"shapes.zip: /elsewhere/1\.png leads out of the zip"):
        load(tmp_path, source)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png", "s3://other/secret.png"])
def test_a_table_names_only_pictures_below_its_folder(tmp_path: Path, path: str) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*picture_rows(6), {"image": path, "label": "disc"}])
    with pytest.raises(DataError, match=r"rows.jsonl, line 7: the image .* does not lie below the table's folder"):
        load(tmp_path, source)


def test_a_label_that_is_never_trained_on_is_refused(tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", 2, shapes=["disc", "cross"])
    with pytest.raises(DataError, match="has the label 'cross', which stands in the test pictures only"):
        load(tmp_path, write_folder(tmp_path / "train", 12), test={"source": test})


def test_grey_transparent_turned_and_deep_pictures_are_seen_as_people_see_them() -> None:
    plain = draw("bar", 3)
    sideways = plain.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise, before it is shown
    written = io.BytesIO()
    sideways.save(written, "PNG", exif=exif)
    assert (seen(written.getvalue()) == seen(png(plain))).all()
    glass = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert (seen(png(glass)) == 255).all()
    deep = Image.fromarray(np.full((8, 8), 65_535 // 2, dtype=np.uint16))
    assert (seen(png(deep)) == 127).all() or (seen(png(deep)) == 128).all()
    assert (seen(png(plain.convert("L")))[0] == seen(png(plain.convert("L")))[2]).all()


def seen(data: bytes) -> Any:
    return pixels(decode(data), size=8, channels=3, fit="squeeze")


def test_a_picture_is_squeezed_or_cut_to_a_square() -> None:
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (10, 0, 20, 10))
    assert (pixels(wide, size=10, channels=1, fit="crop") == 255).all()
    squeezed = pixels(wide, size=9, channels=1, fit="squeeze")[0, 4]
    assert (squeezed[[0, 4, 8]] == [0, 255, 0]).all()


PICTURES = [png(draw("ring", 1)), png(draw("disc", 2).convert("P"))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PICTURES), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6), st.data())
def test_damaged_files_are_pictures_or_refused_with_a_sentence(
    whole: bytes, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    damaged = bytearray(whole)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    said = None
    try:
        assert seen(bytes(damaged[: data.draw(st.integers(0, len(damaged)))])).shape == (3, 8, 8)
    except PictureError as error:
        said = str(error)
    assert said is None or said.startswith(("is ", "has "))
