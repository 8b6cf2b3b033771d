"""Pictures on this machine: recognised by `task: auto`, and one of them is what a fresh server is asked."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import pytest
from tests.trainer.rows.test_door import WRITERS
from tests.trainer.task.drawing import draw, png

from autoglm_api.run import freeze
from autoglm_api.study import StudySpec
from autoglm_cli.recognise import with_recognised_columns
from autoglm_cli.samples import sample

PNG = png(draw("disc", 1))


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """The same picture in a folder, a zip with a wrapper of its own name, and tables that name it and hold it."""
    picture = tmp_path / "shapes" / "disc" / "1.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(PNG)
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as archive:
        archive.writestr("shapes/disc/1.png", PNG)
    held = base64.b64encode(PNG).decode()
    for name, image in (("named", "shapes/disc/1.png"), ("held", held)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"image": image, "label": "disc"}) + "\n")
    WRITERS["Parquet"]([{"image": PNG, "label": "disc"}], tmp_path / "columnar.parquet")
    return {
        "folder": tmp_path / "shapes",
        "zip": tmp_path / "shapes.zip",
        "named": tmp_path / "named.jsonl",
        "held": tmp_path / "held.jsonl",
        "columnar": tmp_path / "columnar.parquet",
    }


@pytest.mark.parametrize("kind", ["folder", "zip", "named", "held", "columnar"])
def test_auto_recognises_pictures_and_a_server_is_asked_about_one_of_them(sources: dict[str, Path], kind: str) -> None:
    written = {
        "task": "auto",
        "data": {"train": {"source": sources[kind].as_uri()}},
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
    }
    recognised, _ = with_recognised_columns(written, Path("/"))
    spec = StudySpec.model_validate(recognised)
    assert spec.data.columns == {"image": "image", "label": "label"}
    run = freeze(spec, namespace="lab", name="shapes", uid="0-1", artifacts_uri="file:///nowhere")
    assert run.task == "image-classification"
    assert [parameter.domain.model_dump()["choices"] for parameter in run.parameters if parameter.name == "method"] == [
        ("scratch",)
    ]
    item, truth = sample(run)
    assert base64.b64decode(item) == PNG
    assert truth == "disc"


def test_a_folder_of_other_things_is_no_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    written = {"task": "auto", "data": {"train": {"source": tmp_path.as_uri()}}}
    given, why = with_recognised_columns(written, Path("/"))
    assert given == written
    assert why is not None
    assert "is a folder, not a file; none of the 1 files below is an image" in why
