from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from tests.serving.processes import running_s3

from autoglm_api.locations import Location
from autoglm_trainer.errors import DiskFull, SpecError
from autoglm_trainer.work.artifacts import Artifacts


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture(params=["file", "s3"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    if request.param == "file":
        return Artifacts(f"file://{tmp_path}/store", Location("file", str(tmp_path / "store")))
    options = {"key": "key", "secret": "secret", "endpoint_url": request.getfixturevalue("endpoint")}
    bucket = f"runs-{uuid.uuid4().hex[:8]}"
    s3fs.S3FileSystem(**options).mkdir(bucket)
    return Artifacts(f"s3://{bucket}/team/study", Location("s3", f"{bucket}/team/study", options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out/deep").mkdir(parents=True)
    (tmp_path / "out/manifest.json").write_text("{}")
    (tmp_path / "out/weights.safetensors").write_bytes(b"\0" * 10_000)
    (tmp_path / "out/deep/z.json").write_text("[]")
    return tmp_path / "out"


def test_what_was_uploaded_comes_back_and_is_gone_when_deleted(
    artifacts: Artifacts, folder: Path, tmp_path: Path
) -> None:
    artifacts.upload(folder, "trials/3")
    assert artifacts.list("trials") == ["trials/3"]
    artifacts.upload(folder, "trials/31")
    assert artifacts.list("trials") == ["trials/3", "trials/31"]
    assert artifacts.list("nothing") == []
    artifacts.download("trials/3", tmp_path / "back")
    found = {path.relative_to(tmp_path / "back").as_posix() for path in (tmp_path / "back").rglob("*.*")}
    assert found == {"manifest.json", "weights.safetensors", "deep/z.json"}
    assert (tmp_path / "back/weights.safetensors").stat().st_size == 10_000
    for _ in range(2):
        artifacts.delete("trials/3")
    with pytest.raises(SpecError, match="nothing at trials/3"):
        artifacts.download("trials/3", tmp_path / "again")
    artifacts.download("trials/31", tmp_path / "other")


def test_the_manifest_is_written_last(artifacts: Artifacts, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    put = artifacts._put

    def recorded(file: Path, path: str) -> None:
        written.append(path)
        put(file, path)

    monkeypatch.setattr(artifacts, "_put", recorded)
    artifacts.upload(folder, "export")
    assert written[-1] == "export/manifest.json"
    assert len(written) == 3


def test_a_bucket_that_is_not_there_is_a_sentence(endpoint: str, folder: Path) -> None:
    options = {"key": "key", "secret": "secret", "endpoint_url": endpoint}
    artifacts = Artifacts("s3://nowhere/x", Location("s3", "nowhere/x", options))
    with pytest.raises(SpecError, match=r"artifacts\.uri s3://nowhere/x"):
        artifacts.upload(folder, "trials/0")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_is_a_sentence_at_once(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "store/trials/0").mkdir(parents=True)
    first = min(file.name for file in folder.rglob("*") if file.is_file())
    (tmp_path / "store/trials/0" / first).symlink_to("/dev/full")
    artifacts = Artifacts(f"file://{tmp_path}/store", Location("file", f"{tmp_path}/store"))
    with pytest.raises(DiskFull, match=r"no room is left on a disk .*where the artifacts are kept"):
        artifacts.upload(folder, "trials/0")
    assert "trying again" not in caplog.text


def test_a_folder_that_may_not_be_written_is_a_sentence(folder: Path) -> None:
    artifacts = Artifacts("file:///proc/nowhere", Location("file", "/proc/nowhere"))
    with pytest.raises(SpecError, match=r"artifacts\.uri file:///proc/nowhere"):
        artifacts.upload(folder, "trials/0")
