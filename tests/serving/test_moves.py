"""Copying and removing models: nothing half, nothing twice, nothing more than was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import pytest
from tests.serving.conftest import Bucket, TinyModel
from tests.serving.processes import free_port

from autoglm_api.exits import ExitCode
from autoglm_api.manifest import MANIFEST
from autoglm_serving.errors import BadInstructionError
from autoglm_serving.folders import check_removable
from autoglm_serving.main import main


class Tell(Protocol):
    def __call__(self, command: str, environ: dict[str, str], **secrets: dict[str, str]) -> int: ...


FILES = {MANIFEST, "model.onnx", "tokenizer.json"}


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tell:
    """Run a command with this environment and these mounted Secrets; returns its exit code."""

    def run(command: str, environ: dict[str, str], **secrets: dict[str, str]) -> int:
        monkeypatch.setenv("AUTOGLM_SECRETS_ROOT", str(tmp_path / "secrets"))
        for place, keys in secrets.items():
            (tmp_path / "secrets" / place).mkdir(parents=True, exist_ok=True)
            for key, value in keys.items():
                (tmp_path / "secrets" / place / key).write_text(value)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return main([command])

    return run


def copy_told(source: str, target: str, digest: str) -> dict[str, str]:
    return {"AUTOGLM_SOURCE_URI": source, "AUTOGLM_TARGET_URI": target, "AUTOGLM_MODEL_DIGEST": digest}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_model_is_copied_whole(model: TinyModel, tmp_path: Path, tell: Tell) -> None:
    (model.folder / "notes.txt").write_text("not in the manifest")
    assert tell("copy", copy_told(model.uri, f"file://{tmp_path}/endpoints/e/d", model.digest)) == 0
    target = tmp_path / "endpoints" / "e" / "d"
    assert names(target) == FILES
    assert all((target / name).read_bytes() == (model.folder / name).read_bytes() for name in FILES)


def test_copying_again_writes_nothing_and_needs_no_source(model: TinyModel, tmp_path: Path, tell: Tell) -> None:
    target = tmp_path / "target" / "a"
    told = copy_told(model.uri, f"file://{target}", model.digest)
    assert tell("copy", told) == 0
    before = {path: path.stat().st_ino for path in target.iterdir()}
    (model.folder / MANIFEST).unlink()
    assert tell("copy", told) == 0
    assert {path: path.stat().st_ino for path in target.iterdir()} == before


def test_half_a_copy_is_finished_and_a_spoilt_file_replaced(model: TinyModel, tmp_path: Path, tell: Tell) -> None:
    target = tmp_path / "target" / "a"
    told = copy_told(model.uri, f"file://{target}", model.digest)
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(b"half")
    assert tell("copy", told) == 0
    (target / "tokenizer.json").write_bytes(b"spoilt")
    assert tell("copy", told) == 0
    assert (target / "tokenizer.json").read_bytes() == (model.folder / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_source_is_not_copied_and_leaves_no_model(
    model: TinyModel, tmp_path: Path, tell: Tell, name: str
) -> None:
    path = model.folder / name
    path.write_bytes(path.read_bytes().replace(b"e", b"f", 1))
    target = tmp_path / "target" / "a"
    assert tell("copy", copy_told(model.uri, f"file://{target}", model.digest)) == ExitCode.DATA
    assert names(target).isdisjoint({MANIFEST, name})


def test_another_model_at_the_source_is_not_copied(model: TinyModel, tmp_path: Path, tell: Tell) -> None:
    target = tmp_path / "target" / "a"
    assert tell("copy", copy_told(model.uri, f"file://{target}", "sha256:" + "0" * 64)) == ExitCode.DATA
    assert names(target) == set()


def test_a_model_is_copied_from_s3_to_s3_with_a_secret_each(model: TinyModel, bucket: Bucket, tell: Tell) -> None:
    source = bucket.upload(model.folder, "ns/study/export")
    told = copy_told(source, f"s3://{bucket.name}/ns/endpoints/e/d", model.digest)
    assert tell("copy", told, source=bucket.credentials, artifacts=bucket.credentials) == 0
    assert tell("copy", told) == 0
    found = {path.rsplit("/", 1)[1] for path in bucket.filesystem.find(f"{bucket.name}/ns/endpoints/e/d")}
    assert found == FILES


def test_a_changed_file_in_s3_is_never_completed_at_the_target(model: TinyModel, bucket: Bucket, tell: Tell) -> None:
    raw = (model.folder / "model.onnx").read_bytes()
    (model.folder / "model.onnx").write_bytes(raw[:-1] + b"?")
    source = bucket.upload(model.folder, "ns/study/export")
    told = copy_told(source, f"s3://{bucket.name}/ns/endpoints/e/d", model.digest)
    assert tell("copy", told, source=bucket.credentials, artifacts=bucket.credentials) == ExitCode.DATA
    assert bucket.filesystem.find(f"{bucket.name}/ns/endpoints/e/d") == []


def test_an_unknown_bucket_and_a_silent_store_end_with_69(
    model: TinyModel, bucket: Bucket, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    told = copy_told(model.uri, "s3://no-such-bucket/ns/e/d", model.digest)
    assert tell("copy", told, artifacts=bucket.credentials) == ExitCode.STORAGE
    silent = bucket.credentials | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    assert tell("delete", told, artifacts=silent) == ExitCode.STORAGE
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["ERROR", "ERROR"]


def test_delete_removes_the_prefix_and_no_neighbour(model: TinyModel, bucket: Bucket, tell: Tell) -> None:
    bucket.upload(model.folder, "ns/study/export")
    bucket.upload(model.folder, "ns/study-2/export")
    told = {"AUTOGLM_TARGET_URI": f"s3://{bucket.name}/ns/study"}
    assert tell("delete", told, artifacts=bucket.credentials) == 0
    left = {path.split("/", 1)[1].rsplit("/", 1)[0] for path in bucket.filesystem.find(bucket.name)}
    assert left == {"ns/study-2/export"}
    assert tell("delete", told) == 0


def test_delete_removes_a_folder_and_nothing_there_is_a_success(model: TinyModel, tmp_path: Path, tell: Tell) -> None:
    target = tmp_path / "artifacts" / "ns" / "study"
    assert tell("copy", copy_told(model.uri, f"file://{target}/export", model.digest)) == 0
    for _ in range(2):
        assert tell("delete", {"AUTOGLM_TARGET_URI": f"file://{target}/"}) == 0
        assert not target.exists()
    assert target.parent.is_dir()


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/ns",
        "s3://bucket//ns/",
        "pvc://claim",
        "pvc://claim/ns",
        "pvc://claim/ns/../..",
        "s3://bucket/ns/%2e%2e",
        "file:///",
        "file:///models",
        "file:///models/ns",
        "file:///models/ns/uid/../..",
        "hf://org/model",
        "models",
    ],
)
def test_a_prefix_near_a_root_is_never_removed(uri: str) -> None:
    with pytest.raises(BadInstructionError):
        check_removable(uri)


@pytest.mark.parametrize("uri", ["s3://b/ns/uid", "pvc://c/ns/uid", "file:///models/ns/uid", "pvc://c/ns/endpoints/e"])
def test_the_prefix_of_a_study_or_an_endpoint_may_be_removed(uri: str) -> None:
    check_removable(uri)
