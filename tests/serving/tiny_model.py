"""A genuine model of a few hundred bytes: a WordLevel tokenizer and an embedding-bag classifier in ONNX."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from autoglm_api.manifest import MANIFEST, DataDigests, Manifest, ModelFile, Provenance, digest

LABELS = ("card", "transfer", "greeting")
WORDS = {"card": 0, "pin": 0, "send": 1, "money": 1, "hello": 2, "thanks": 2}
MAX_LENGTH = 8


def write_model(
    folder: Path,
    *,
    seed: int = 0,
    study: str = "intents",
    task: str = "text-classification",
    labels: Sequence[str] = LABELS,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    scale: float = 4.0,
    output: str = "logits",
    test: dict[str, float] | None = None,
) -> str:
    """Write a complete model into `folder`; returns its digest. Another seed is another digest."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    write_graph(folder / "model.onnx", inputs=inputs, scale=scale, output=output)
    names = ("model.onnx", "tokenizer.json")
    files = [describe(folder, name) for name in names]
    manifest = Manifest(
        task=task,
        created=datetime(2026, 11, 1, tzinfo=UTC),
        files=tuple(files),
        labels=tuple(labels),
        max_length=MAX_LENGTH,
        inputs=tuple(inputs),
        metric="f1_macro",
        direction="Maximize",
        parameters={"method": "head"},
        validation={"f1_macro": 0.9},
        test=test or {"f1_macro": 0.88},
        seed=seed,
        versions={"onnx": "1"},
        data=DataDigests(train="a" * 64, validation="b" * 64, test="c" * 64),
        provenance=Provenance(namespace="default", study=study, study_uid="u", trial=3, base_model="package://tiny"),
    )
    raw = manifest.model_dump_json(by_alias=True, indent=2).encode()
    (folder / MANIFEST).write_bytes(raw)
    return digest(raw)


def describe(folder: Path, name: str) -> ModelFile:
    data = (folder / name).read_bytes()
    return ModelFile(path=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def write_tokenizer(path: Path) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: index + 2 for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


def write_graph(path: Path, *, inputs: Sequence[str], scale: float, output: str) -> None:
    """Mean of the words' label vectors over the unmasked tokens."""
    table = np.zeros((len(WORDS) + 2, len(LABELS)), dtype=np.float32)
    for index, label in enumerate(WORDS.values()):
        table[index + 2, label] = scale
    nodes = [
        helper.make_node("Gather", ["table", inputs[0]], ["vectors"]),  # (batch, tokens, labels)
        helper.make_node("Cast", [inputs[1]], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["vectors", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "tokens"], ["count"], keepdims=1),
        helper.make_node("Div", ["total", "count"], [output]),  # (batch, labels)
    ]
    graph = helper.make_graph(
        nodes,
        "bag",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", len(LABELS)])],
        initializer=[
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "tokens"),
        ],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(path))
