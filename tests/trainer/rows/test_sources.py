"""Rows from Google Cloud Storage and from the Hugging Face hub, each against a server that speaks its interface."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from gcp_storage_emulator.server import create_server
from tests.serving.processes import free_port
from tests.trainer.rows.test_door import CHINESE
from typing_extensions import override

from autoglm_api.locations import locate, locate_rows
from autoglm_trainer.errors import DataError, SpecError
from autoglm_trainer.rows.door import Records, read_records
from autoglm_trainer.sources import download_file, list_files


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="lab")
    server.start()
    url = f"http://127.0.0.1:{port}"
    store = fsspec.filesystem("gcs", token="anon", endpoint_url=url)
    store.pipe("lab/rows/train.csv", CHINESE.encode("gb18030"))
    yield url
    server.stop()


def read(uri: str, endpoint: str) -> Records:
    keys = {"GOOGLE_CREDENTIALS": "anon", "STORAGE_EMULATOR_HOST": endpoint}
    return read_records(uri, lambda uri: locate_rows(uri, claims_root=Path("/"), credentials=keys))


def test_rows_are_read_from_google_cloud_storage(endpoint: str) -> None:
    records = read("gs://lab/rows/train.csv", endpoint)
    assert str(records.detected) == "CSV, GB18030"
    assert [row["label"] for _, row in records] == ["好", "差"]
    with pytest.raises(DataError, match="there is no such file; check bucket and path"):
        read("gs://lab/rows/none.csv", endpoint)


def test_files_are_listed_and_copied_from_google_cloud_storage(endpoint: str, tmp_path: Path) -> None:
    keys = {"GOOGLE_CREDENTIALS": "anon", "STORAGE_EMULATOR_HOST": endpoint}
    folder = locate("gs://lab/rows", claims_root=tmp_path, credentials=keys)
    assert list_files("gs://lab/rows", folder, SpecError) == {"train.csv": len(CHINESE.encode("gb18030"))}
    download_file("gs://lab/rows/train.csv", folder / "train.csv", tmp_path / "copy.csv", SpecError)
    assert (tmp_path / "copy.csv").read_text(encoding="gb18030") == CHINESE


@pytest.mark.parametrize("key", ["{", "[1]", "nothing"])
def test_google_credentials_that_are_no_key_file_are_refused(key: str) -> None:
    with pytest.raises(DataError, match="GOOGLE_CREDENTIALS must be a service account's key file"):
        read_records(
            "gs://lab/a.csv",
            lambda uri: locate_rows(uri, claims_root=Path("/"), credentials={"GOOGLE_CREDENTIALS": key}),
        )


class Hub(http.server.BaseHTTPRequestHandler):
    """What the hub's client asks for a file of a data set."""

    content: ClassVar[bytes] = b"text,label\na,x\n"

    @override
    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        known = {"/datasets/lab/rows/resolve/v1/data/train.csv", "/datasets/lab/rows/resolve/main/data/train.csv"}
        failed = None if self.path in known else "EntryNotFound"
        failed = "RevisionNotFound" if "/v9/" in self.path else failed
        if self.headers.get("authorization") != "Bearer right":
            failed = "RepoNotFound"
        self.send_response(404 if failed else 200)
        headers = {"X-Error-Code": failed} if failed else {"X-Repo-Commit": "a" * 40, "ETag": '"rows"'}
        content = b"" if failed else self.content
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


ASK = """
import sys
from functools import partial
from pathlib import Path
from autoglm_api.locations import locate_rows
from autoglm_trainer.errors import TrainerError
from autoglm_trainer.rows.door import read_records
for source, token in (line.split() for line in sys.stdin):
    try:
        locate = partial(locate_rows, claims_root=Path("/"), credentials={"HF_TOKEN": token})
        print([row for _, row in read_records(source, locate)])
    except TrainerError as error:
        print(type(error).__name__, error)
"""


def ask(home: Path, *questions: str, **environ: str) -> list[str]:
    answered = subprocess.run(
        [sys.executable, "-c", ASK],
        input="\n".join(questions),
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return answered.stdout.splitlines()


def test_rows_are_read_from_the_hub_kept_and_refused_with_sentences(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = "hf://datasets/lab/rows"
    url = f"http://127.0.0.1:{server.server_port}"
    found, newest, revision, file, token, form = ask(
        tmp_path,
        f"{rows}@v1/data/train.csv right",
        f"{rows}/data/train.csv right",
        f"{rows}@v9/data/train.csv right",
        f"{rows}@v1/none.csv right",
        f"{rows}@v1/data/more.csv wrong",
        "hf://lab/rows/train.csv right",
        HF_ENDPOINT=url,
        HF_HUB_OFFLINE="0",
    )
    server.shutdown()
    server.server_close()
    assert json.loads(found.replace("'", '"')) == json.loads(newest.replace("'", '"')) == [{"text": "a", "label": "x"}]
    assert (
        revision
        == f"DataError {rows}@v9/data/train.csv: no such revision; name a commit, tag or branch of the repository"
    )
    assert "no such file in the repository" in file
    assert "give HF_TOKEN in data.secretRef" in token
    assert "write hf://datasets/<owner>/<name>@<revision>/<path>" in form
    kept, absent = ask(
        tmp_path, f"{rows}@v1/data/train.csv right", f"{rows}@v1/data/other.csv right", HF_HUB_OFFLINE="1"
    )
    assert kept == found
    assert "DataError" in absent
    assert "the hub cannot be reached from here and the file is not in the cache" in absent
