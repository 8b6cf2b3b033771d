"""Rows from Google Cloud Storage and from the Hugging Face hub, each against a server that speaks its interface."""

from __future__ import annotations

import hashlib
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
from autoglm_trainer.rows.door import read_records
from autoglm_trainer.rows.records import Records
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
    assert [row for _, row in read("gs://lab/rows/*.csv", endpoint)] == [row for _, row in records]
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
    """What the hub's client asks for files of a data set, of two revisions and of the hub's own Parquet branch."""

    files: ClassVar[dict[str, bytes]] = {
        "data/train.csv": b"text,label\na,x\n",
        "default/train/1.csv": b"text,label\nc,z\n",
        "default/train/0.csv": b"text,label\nb,y\n",
        "default/train/more/2.csv": b"text,label\nd,z\n",
    }
    commits: ClassVar = {"main": "b" * 40, **dict.fromkeys(("v1", "refs%2Fconvert%2Fparquet", "a" * 40), "a" * 40)}

    @override
    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        asked, revision, *path = self.path.partition("?")[0].split("/rows/")[1].split("/", 2)
        commit = self.commits.get(revision)
        content, failed = self._content(asked, commit, *path) if commit else (b"", "RevisionNotFound")
        if self.headers.get("authorization") != "Bearer right":
            failed = "RepoNotFound"
        self.send_response(404 if failed else 200)
        etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        headers = {"X-Error-Code": failed} if failed else {"X-Repo-Commit": commit or "", "ETag": f'"{etag}"'}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _content(self, asked: str, commit: str, path: str = "") -> tuple[bytes, str | None]:
        if asked == "resolve":
            known = path in self.files and "/more/" not in path  # no pattern asks for files below other folders
            return self.files.get(path, b""), None if known else "EntryNotFound"
        listed = [{"type": "file", "path": path, "size": len(each), "oid": "0"} for path, each in self.files.items()]
        return json.dumps(listed if asked == "tree" else {"id": "lab/rows", "sha": commit}).encode(), None


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


ROWS, BRANCH = "hf://datasets/lab/rows", "refs%2Fconvert%2Fparquet"
ONLINE = {
    "file": f"{ROWS}@v1/data/train.csv right",
    "newest": f"{ROWS}/data/train.csv right",
    "no revision": f"{ROWS}@v9/data/train.csv right",
    "no file": f"{ROWS}@v1/none.csv right",
    "no token": f"{ROWS}@v1/data/more.csv wrong",
    "no data set": "hf://lab/rows/train.csv right",
    "branch": f"{ROWS}@{BRANCH}/default/train/1.csv right",
    "branch as it is": f"{ROWS}@refs/convert/parquet/default/train/1.csv right",
    "branch for short": f"{ROWS}@~parquet/default/train/1.csv right",
    "several": f"{ROWS}@{BRANCH}/default/train/*.csv right",
    "none at the root": f"{ROWS}@v1/*.csv right",
    "none of the name": f"{ROWS}@v1/data/test-*.csv right",
    "no revision of several": f"{ROWS}@v9/data/*.csv right",
}
OFFLINE = {
    "file kept": ONLINE["file"],
    "several kept": ONLINE["several"],
    "several of which one is kept": f"{ROWS}/data/*.csv right",
    "file not kept": f"{ROWS}@v1/data/other.csv right",
    "several not kept": "hf://datasets/lab/other/data/*.csv right",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What comes of each source, first where the hub answers, then where it does not."""
    home = tmp_path_factory.mktemp("hub")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0"}
    online = ask(home, *ONLINE.values(), **address)
    server.shutdown()
    server.server_close()
    offline = ask(home, *OFFLINE.values(), HF_HUB_OFFLINE="1")
    return dict(zip((*ONLINE, *OFFLINE), (*online, *offline), strict=True))


def test_rows_are_read_from_the_hub_and_kept(hub: dict[str, str]) -> None:
    assert hub["file"] == hub["newest"] == hub["file kept"] == "[{'text': 'a', 'label': 'x'}]"


def test_the_branch_that_the_hub_makes_of_a_data_set_is_known_however_it_is_written(hub: dict[str, str]) -> None:
    assert hub["branch"] == hub["branch as it is"] == hub["branch for short"] == "[{'text': 'c', 'label': 'z'}]"


def test_several_files_of_the_hub_are_one_source_and_kept(hub: dict[str, str]) -> None:
    assert hub["several"] == hub["several kept"] == "[{'text': 'b', 'label': 'y'}, {'text': 'c', 'label': 'z'}]"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no revision", "no such revision; name a commit, tag or branch of the repository"),
        ("no revision of several", "no such revision; name a commit, tag or branch of the repository"),
        ("no file", "no such file in the repository; check path and revision"),
        ("no token", "give HF_TOKEN in data.secretRef"),
        ("no data set", "write hf://datasets/<owner>/<name>@<revision>/<path>"),
        ("none at the root", "no file there has such a name"),
        ("none of the name", "no file there has such a name"),
        ("file not kept", "the hub cannot be reached from here and the file is not in the cache"),
        ("several of which one is kept", "the hub cannot be reached from here and the folder is not in the cache"),
        ("several not kept", "the hub cannot be reached from here and the folder is not in the cache"),
    ],
)
def test_what_the_hub_has_not_is_refused_with_a_sentence(hub: dict[str, str], source: str, said: str) -> None:
    uri = {**ONLINE, **OFFLINE}[source].split()[0]
    assert hub[source].startswith("DataError ")
    assert f"{uri}: " in hub[source] or f"{uri} names" in hub[source]
    assert said in hub[source]
