"""Only a complete model with the promised bytes is ever served; everything else ends with a code and a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import Bucket, TinyModel
from tests.serving.processes import free_port, running_server, serve_command
from tests.serving.tiny_model import LABELS, describe, write_model

from autoglm_api.exits import ExitCode, Termination
from autoglm_api.manifest import MANIFEST, digest
from autoglm_serving.errors import (
    BadInstructionError,
    DigestMismatchError,
    IncompleteModelError,
    ServingError,
    StorageUnreachableError,
    UnusableModelError,
)
from autoglm_serving.server import Loaded, load_model


def load(uri: str, digest: str | None, scratch: Path, **more: dict[str, str]) -> Loaded:
    return load_model(uri, digest, scratch=scratch, threads=1, **more)  # type: ignore[arg-type]


def ask(loaded: Loaded, *texts: str) -> list[dict[str, Any]]:
    answerer = loaded.answerer
    return answerer.predict([answerer.parse(text, "data") for text in texts])


def edit_manifest(folder: Path, **changes: object) -> str:
    """Change the manifest as an honest exporter would; returns the new digest."""
    manifest = json.loads((folder / MANIFEST).read_bytes()) | changes
    raw = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(raw)
    return digest(raw)


def test_a_complete_model_is_loaded_in_place(model: TinyModel, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert ask(load(model.uri, model.digest, scratch), "send money")[0]["label"] == "transfer"
    assert list(scratch.iterdir()) == []


def test_without_a_digest_the_folders_own_model_is_loaded(model: TinyModel, tmp_path: Path) -> None:
    assert load(model.uri, None, tmp_path).digest == model.digest


def test_probabilities_are_taken_as_they_are(tmp_path: Path) -> None:
    found = write_model(tmp_path / "m", output="probabilities", scale=0.5)
    assert ask(load(f"file://{tmp_path}/m", found, tmp_path), "hello")[0]["score"] == pytest.approx(0.5)


def test_a_text_alone_and_among_others_gets_the_same_answer(model: TinyModel, tmp_path: Path) -> None:
    loaded = load(model.uri, model.digest, tmp_path)
    texts = ["hello card", "send", "pin pin thanks", "unknown words only"] * 30
    together = ask(loaded, *texts)
    assert together[:4] == [ask(loaded, text)[0] for text in texts[:4]]


@pytest.mark.parametrize(
    ("break_it", "error", "sentence"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), IncompleteModelError, "an upload did not finish"),
        (lambda folder: (folder / "model.onnx").unlink(), IncompleteModelError, "lacks model.onnx"),
        (lambda folder: (folder / "tokenizer.json").unlink(), IncompleteModelError, "lacks tokenizer.json"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"{}"), DigestMismatchError, "expected sha256:"),
        (lambda folder: edit_manifest(folder, labels=["a", "b", "c"]), DigestMismatchError, "expected sha256:"),
        (lambda folder: flip(folder / "model.onnx"), DigestMismatchError, "model.onnx was changed"),
        (lambda folder: (folder / "tokenizer.json").open("ab").write(b" "), DigestMismatchError, "its manifest says"),
    ],
    ids=["no manifest", "no graph", "no tokenizer", "other manifest", "edited manifest", "flipped byte", "longer file"],
)
def test_half_an_upload_or_changed_bytes_are_never_loaded(
    model: TinyModel, tmp_path: Path, break_it: object, error: type[ServingError], sentence: str
) -> None:
    break_it(model.folder)  # type: ignore[operator]
    with pytest.raises(error, match=sentence) as caught:
        load(model.uri, model.digest, tmp_path)
    assert caught.value.exit_code == ExitCode.DATA


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"task": "translation"}, UnusableModelError, "'translation', which this server cannot answer"),
        ({"labels": ["one", "two"]}, UnusableModelError, r"answers \(1, 3\) for 1 inputs and 2 outputs"),
        ({"inputs": ["input_ids"]}, UnusableModelError, r"the manifest says \['input_ids'\]"),
        ({"format": 2}, IncompleteModelError, "has format 2, this version reads 1"),
        ({"files": "none"}, IncompleteModelError, "is not a manifest: files"),
        ({"files": []}, UnusableModelError, "no tokenizer.json"),
        (
            {"files": [{"path": "../secret", "sha256": "a" * 64, "sizeBytes": 1}]},
            IncompleteModelError,
            "is not a manifest: files.0.path",
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_a_manifest_that_promises_something_else_is_refused(
    model: TinyModel, tmp_path: Path, changes: dict[str, object], error: type[ServingError], sentence: str
) -> None:
    changed = edit_manifest(model.folder, **changes)
    if changes == {"files": []}:
        (model.folder / "tokenizer.json").unlink()
    with pytest.raises(error, match=sentence):
        load(model.uri, changed, tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_is_not_what_its_name_says_is_refused(model: TinyModel, tmp_path: Path, name: str) -> None:
    (model.folder / name).write_bytes(b"not at all")
    files = [
        describe(model.folder, other).model_dump(mode="json", by_alias=True)
        for other in ("model.onnx", "tokenizer.json")
    ]
    with pytest.raises(UnusableModelError, match=f"{name} cannot be"):
        load(model.uri, edit_manifest(model.folder, files=files), tmp_path)


def test_a_graph_that_answers_no_numbers_never_serves(tmp_path: Path) -> None:
    found = write_model(tmp_path / "m", scale=float("inf"))
    with pytest.raises(UnusableModelError, match="not finite"):
        load(f"file://{tmp_path}/m", found, tmp_path)


def test_an_unknown_input_of_the_graph_is_named(tmp_path: Path) -> None:
    found = write_model(tmp_path / "m", inputs=("pixels", "attention_mask"))
    with pytest.raises(UnusableModelError, match="pixels"):
        load(f"file://{tmp_path}/m", found, tmp_path)


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInstructionError, match="hf:// is not a place for files"):
        load("hf://org/model", None, tmp_path)


def test_a_claims_model_is_found_below_its_mount_and_nowhere_else(model: TinyModel, tmp_path: Path) -> None:
    root = tmp_path / "claims"
    (root / "models" / "team").mkdir(parents=True)
    model.folder.rename(root / "models" / "team" / "a")
    loaded = load_model("pvc://models/team/a", model.digest, scratch=tmp_path, threads=1, claims_root=root)
    assert loaded.manifest.labels == LABELS
    with pytest.raises(BadInstructionError, match="leaves the claim"):
        load_model("pvc://models/../../x", None, scratch=tmp_path, threads=1, claims_root=root)


def test_a_model_in_s3_is_downloaded_checked_and_loaded(model: TinyModel, bucket: Bucket, tmp_path: Path) -> None:
    uri = bucket.upload(model.folder, "team/a")
    loaded = load(uri, model.digest, tmp_path, credentials=bucket.credentials)
    assert ask(loaded, "hello")[0]["label"] == "greeting"


def test_changed_bytes_in_s3_are_never_loaded(model: TinyModel, bucket: Bucket, tmp_path: Path) -> None:
    flip(model.folder / "model.onnx")
    uri = bucket.upload(model.folder, "team/a")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(DigestMismatchError, match=r"model\.onnx was changed"):
        load(uri, model.digest, scratch, credentials=bucket.credentials)
    assert not list(scratch.rglob("model.onnx"))


def test_a_store_that_does_not_answer_is_a_sentence_not_a_hang(tmp_path: Path) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    credentials["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StorageUnreachableError, match="cannot read") as caught:
        load("s3://bucket/team/a", None, tmp_path, credentials=credentials)
    assert caught.value.exit_code == ExitCode.STORAGE


def test_a_server_process_refuses_a_tampered_model_with_65_and_tells_the_pod_why(
    model: TinyModel, tmp_path: Path
) -> None:
    flip(model.folder / "model.onnx")
    log = tmp_path / "termination-log"
    log.touch()
    port = free_port()
    process = serve_command(
        {
            "AUTOGLM_MODEL_URI": model.uri,
            "AUTOGLM_MODEL_DIGEST": model.digest,
            "AUTOGLM_TERMINATION_LOG": str(log),
            "AUTOGLM_PORT": str(port),
        }
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.DATA
    (line,) = output.decode().splitlines()
    assert json.loads(line)["level"] == "ERROR"
    assert "model.onnx was changed" in Termination.model_validate_json(log.read_text()).message
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_a_server_process_serves_from_s3_with_a_mounted_secret(
    model: TinyModel, bucket: Bucket, tmp_path: Path
) -> None:
    secret = tmp_path / "secrets" / "artifacts"
    secret.mkdir(parents=True)
    for key, value in bucket.credentials.items():
        (secret / key).write_text(value)
    uri = bucket.upload(model.folder, "team/a")
    with running_server(uri, model.digest, AUTOGLM_SECRETS_ROOT=str(secret.parent), TMPDIR=str(tmp_path)) as server:
        answer = httpx.post(f"{server.url}/v1/predict", json={"data": "hello"})
        assert answer.json()["predictions"][0]["label"] == "greeting"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "AUTOGLM_MODEL_URI is not set"),
        ({"AUTOGLM_MODEL_URI": "file:///nowhere"}, "AUTOGLM_MODEL_DIGEST is not set"),
        (
            {"AUTOGLM_MODEL_URI": "file:///x", "AUTOGLM_MODEL_DIGEST": "sha256:0", "AUTOGLM_PORT": "http"},
            "AUTOGLM_PORT must be a whole number, got 'http'",
        ),
    ],
    ids=["nothing", "no digest", "bad port"],
)
def test_missing_instructions_end_with_64_and_a_sentence(environ: dict[str, str], sentence: str) -> None:
    process = serve_command(environ)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.SPEC
    assert sentence in output.decode()
    assert "Traceback" not in output.decode()
