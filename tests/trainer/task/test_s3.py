"""Rows and models on S3, against a real S3 API in a process of its own."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from tests.serving.processes import running_s3
from tests.trainer.task.drawing import write_folder
from tests.trainer.task.making import colour_rows, make_places, make_run, write_rows

from autoglm_api.study import Data, ModelSource
from autoglm_trainer.errors import DataError, SourceUnreachable, SpecError
from autoglm_trainer.model.source import find_model
from autoglm_trainer.rows.images import load_pictures
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.rows.texts import LabelledText, load_texts
from autoglm_trainer.tasks import get_task

KEYS = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def endpoint(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "train.jsonl", colour_rows(30))
    for number in range(3):
        write_rows(folder / f"part-{number} #.jsonl", colour_rows(10, start=10 * number))
    write_folder(folder / "shapes", 6)
    with running_s3() as url:
        store = fsspec.filesystem("s3", key="lab", secret="secret", endpoint_url=url)
        store.mkdir("lab")
        store.put(str(folder / "train.jsonl"), "lab/rows/train.jsonl")
        for file in folder.glob("part-*"):
            store.put(str(file), f"lab/parts/{file.name}")
        store.call_s3("put_object", Bucket="lab", Key="parts/", Body=b"")  # as consoles make folders
        store.put(str(folder / "shapes"), "lab/shapes", recursive=True)
        for file in model_folder("bert").iterdir():
            store.put(str(file), f"lab/models/tiny/{file.name}")
        store.touch("lab/models/tiny/pytorch_model.bin")
        store.touch("lab/models/pickled/config.json")
        store.touch("lab/models/pickled/pytorch_model.bin")
        yield url


def test_a_task_loads_rows_and_model_from_s3_and_downloads_the_model_once(endpoint: str, tmp_path: Path) -> None:
    places = make_places(tmp_path, **KEYS, AWS_ENDPOINT_URL=endpoint)
    run = make_run("s3://lab/models/tiny", "s3://lab/rows/train.jsonl")
    assert get_task(run.task).load(run, places).row_counts == {"train": 24, "validation": 6}
    (folder,) = (tmp_path / "models").iterdir()
    assert not (folder / "pytorch_model.bin").exists()
    first = (folder / "model.safetensors").stat().st_mtime_ns
    assert find_model(run.model, places) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == first


def test_several_objects_are_one_source_and_none_is_told(endpoint: str, tmp_path: Path) -> None:
    places = make_places(tmp_path, **KEYS, AWS_ENDPOINT_URL=endpoint)

    def load(source: str) -> Splits[LabelledText]:
        spec = {"train": {"source": source}, "cleaning": "Off"}
        return load_texts(Data.model_validate(spec), places.data, seed=0).splits

    parts = load("s3://lab/parts/part-*.jsonl")
    assert parts.digests == load("s3://lab/parts").digests == load("s3://lab/rows/train.jsonl").digests
    last = max((*parts.train, *parts.validation), key=lambda row: row.line)
    assert parts.train.where(last) == "s3://lab/parts/part-2 #.jsonl, line 10"
    with pytest.raises(DataError, match=r"s3://lab/rows/test-\*: no file there has such a name"):
        load("s3://lab/rows/test-*")
    with pytest.raises(DataError, match="check bucket, key and AWS_ENDPOINT_URL"):
        load("s3://elsewhere/test-*")


def test_pictures_are_read_from_a_folder_on_s3(endpoint: str, tmp_path: Path) -> None:
    data = Data.model_validate({"train": {"source": "s3://lab/shapes"}, "validation": {"fraction": 0.5}})
    found = load_pictures(data, make_places(tmp_path, **KEYS, AWS_ENDPOINT_URL=endpoint).data, seed=0)
    assert found.splits.counts == {"train": 3, "validation": 3}
    assert all(picture.load() for picture in found.splits.train)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("s3://lab/models/none", "there is no such folder"),
        ("s3://lab/models/pickled", "only pickled weights"),
        ("s3://elsewhere/tiny", "check bucket, key and AWS_ENDPOINT_URL"),
    ],
)
def test_a_model_that_is_not_on_s3_is_refused(endpoint: str, tmp_path: Path, model: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        find_model(ModelSource(source=model), make_places(tmp_path, **KEYS, AWS_ENDPOINT_URL=endpoint))
    assert said in str(caught.value)


@pytest.mark.parametrize("source", ["s3://lab/rows/none.jsonl", "s3://elsewhere/train.jsonl"])
def test_rows_that_are_not_on_s3_are_refused(endpoint: str, tmp_path: Path, source: str) -> None:
    run = make_run("s3://lab/models/tiny", source)
    with pytest.raises(DataError, match="there is no such file; check bucket, key"):
        get_task(run.task).load(run, make_places(tmp_path, **KEYS, AWS_ENDPOINT_URL=endpoint))


def test_denied_access_is_refused_and_names_the_secret(endpoint: str, tmp_path: Path) -> None:
    run = make_run("s3://lab/models/tiny", "s3://lab/rows/train.jsonl")
    places = make_places(tmp_path, **{**KEYS, "AWS_ACCESS_KEY_ID": "stranger"}, AWS_ENDPOINT_URL=endpoint)
    allow_unsigned(endpoint, 0)
    try:
        with pytest.raises(DataError, match=r"access denied.*Secret that secretRef names") as caught:
            get_task(run.task).load(run, places)
    finally:
        allow_unsigned(endpoint, 10_000)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value).replace("secretRef", "")


def allow_unsigned(endpoint: str, calls: int) -> None:
    """How many calls the S3 API takes from now on before it asks who is calling."""
    body, headers = str(calls).encode(), {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=body, headers=headers, method="POST")
    urllib.request.urlopen(request).close()


def test_missing_keys_are_refused_with_their_names(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    run = make_run("s3://lab/models/tiny", "s3://lab/rows/train.jsonl")
    with pytest.raises(DataError, match="give a secretRef with AWS_ACCESS_KEY_ID"):
        get_task(run.task).load(run, make_places(tmp_path, AWS_ENDPOINT_URL=endpoint))


def test_a_store_that_does_not_answer_is_no_verdict_about_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    run = make_run("s3://lab/models/tiny", "s3://lab/rows/train.jsonl")
    with pytest.raises(SourceUnreachable, match="check the endpoint and the network"):
        get_task(run.task).load(run, make_places(tmp_path, **KEYS, AWS_ENDPOINT_URL="http://127.0.0.1:9"))
