"""A folder of pictures on a volume becomes a network trained from nothing, an exported model, and answers."""

from __future__ import annotations

import json

import pytest
from e2e.cluster.cluster import Cluster
from e2e.endpoints import predict, search_and_serve
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import DATA_CLAIM, put_rows, study
from tests.trainer.task.drawing import base64_of, draw

pytestmark = pytest.mark.timeout(600)

SHAPES = ("bar", "disc")
DRAWN = {"train": range(30), "test": range(100, 110)}
PICTURES = {
    f"{split}/{shape}/{number}.png": base64_of(draw(shape, number).convert("L"))
    for split, numbers in DRAWN.items()
    for shape in SHAPES
    for number in numbers
}
WRITE = f"""
import base64, json, os
os.umask(0)
for path, content in json.loads({json.dumps(PICTURES)!r}).items():
    os.makedirs(os.path.dirname("/data/" + path), exist_ok=True)
    with open("/data/" + path, "wb") as file:
        file.write(base64.b64decode(content))
"""


def test_a_folder_of_pictures_becomes_a_model_that_answers(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str
) -> None:
    put_rows(kube, namespace, WRITE)
    body = study(
        "shapes",
        task="image-classification",
        data={
            "train": {"source": f"pvc://{DATA_CLAIM}/train"},
            "test": {"source": f"pvc://{DATA_CLAIM}/test"},
        },
        parameters=[
            {"name": "epochs", "categorical": {"choices": [20]}},
            {"name": "augmentation", "categorical": {"choices": ["none"]}},
            {"name": "image_size", "categorical": {"choices": [32]}},
        ],
        trials={"max": 1, "parallel": 1},
    )
    del body["spec"]["model"]
    url, told = search_and_serve(kube, cluster, namespace, body)
    items = [{"image": base64_of(draw(shape, 500 + number))} for number in range(3) for shape in SHAPES]
    answer = wait_for(lambda: predict(url, items))
    assert answer["digest"] == told["model"]["digest"]
    assert {label for each in answer["predictions"] for label in each["scores"]} == set(SHAPES)
    right = [each["label"] == shape for each, shape in zip(answer["predictions"], SHAPES * 3, strict=True)]
    assert sum(right) >= 4, answer["predictions"]
    installation.check_operator()
