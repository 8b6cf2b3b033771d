from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import s3fs
from tests.serving.processes import RunningServer, running_s3, running_server
from tests.serving.tiny_model import write_model


@dataclass(frozen=True)
class TinyModel:
    folder: Path
    digest: str

    @property
    def uri(self) -> str:
        return f"file://{self.folder}"


@pytest.fixture
def model(tmp_path: Path) -> TinyModel:
    """A complete model of one's own, to break."""
    return TinyModel(tmp_path / "model", write_model(tmp_path / "model"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served")
    digest = write_model(folder)
    with running_server(f"file://{folder}", digest) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    """A client of the shared server, which must be alive afterwards too."""
    with httpx.Client(base_url=server.url, timeout=30) as http:
        yield http
        assert http.get("/readyz").status_code == 200
    assert server.process.poll() is None


@dataclass(frozen=True)
class Bucket:
    endpoint: str
    name: str
    filesystem: s3fs.S3FileSystem

    @property
    def credentials(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def upload(self, folder: Path, prefix: str) -> str:
        self.filesystem.put(f"{folder}/", f"{self.name}/{prefix}/", recursive=True)
        return f"s3://{self.name}/{prefix}"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with running_s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str) -> Bucket:
    filesystem = s3fs.S3FileSystem(
        key="key", secret="secret", endpoint_url=s3_endpoint, use_listings_cache=False, skip_instance_cache=True
    )
    name = f"models-{uuid.uuid4().hex[:8]}"
    filesystem.mkdir(name)
    return Bucket(s3_endpoint, name, filesystem)
