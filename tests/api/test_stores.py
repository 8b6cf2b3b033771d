"""Stores of other distributions: their scheme is a place like any other, from the door to the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHELF = """
from autoglm_api.stores import StoreDeclaration

store = StoreDeclaration(
    name="shelf",
    protocol="dir",
    options=lambda keys: {
        "path": keys["SHELF_ROOT"],
        "target_protocol": "file",
        "target_options": {"auto_mkdir": True},
    },
    keys=("SHELF_ROOT",),
)
"""
ENTRY_POINTS = """
[autoglm.stores]
shelf = shelves:store
s3 = shelves:store
broken = nowhere:store
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """An installed distribution, as pip would leave it."""
    info = tmp_path / "shelves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "shelves.py").write_text(SHELF)
    return tmp_path


def python(program: str, *arguments: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ROUND_TRIP = """
import sys
from pathlib import Path
from pydantic import TypeAdapter
from autoglm_api.locations import locate
from autoglm_api.parts import ArtifactUri, SourceUri
from autoglm_serving.folders import check_removable, open_folder
from autoglm_trainer.sources import file_system
from autoglm_trainer.work.artifacts import Artifacts

root, keys = Path(sys.argv[1]), {"SHELF_ROOT": sys.argv[1]}
uri = TypeAdapter(ArtifactUri).validate_python("shelf://team/models")
assert TypeAdapter(SourceUri).validate_python("shelf://team/rows.csv")
(root / "made").mkdir()
(root / "made/weights").write_text("w")
artifacts = Artifacts(uri, locate(uri, claims_root=root, credentials=keys))
artifacts.upload(root / "made", "trials/1")
artifacts.download("trials/1", root / "back")
folder = open_folder(f"{uri}/trials/1", claims_root=root, credentials=keys)
check_removable(f"{uri}/team/study")
print((root / "back/weights").read_text(), folder.read("weights").decode())
artifacts.delete("trials")
print(file_system(artifacts.root).exists("team/models/trials"))
"""


def test_a_plug_in_s_store_holds_rows_and_models(plugin: Path, tmp_path: Path) -> None:
    assert python(ROUND_TRIP, str(tmp_path), path=plugin).split() == ["w", "w", "False"]


REFUSED = """
import sys
from pydantic import TypeAdapter, ValidationError
from autoglm_api.parts import ArtifactUri
try:
    TypeAdapter(ArtifactUri).validate_python(sys.argv[1])
except ValidationError as error:
    print(error.errors()[0]["msg"])
"""


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("broken://a/b", "broken:// cannot be used: the plug-in 'broken' of shelves cannot be imported"),
        ("drawer://a/b", "should match pattern"),
        ("s3://bucket/prefix", ""),
    ],
)
def test_a_store_that_cannot_be_used_harms_nobody_else(plugin: Path, uri: str, sentence: str) -> None:
    told = python(REFUSED, uri, path=plugin)
    assert sentence in told if sentence else not told
