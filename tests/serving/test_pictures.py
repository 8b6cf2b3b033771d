"""Pictures asked of the model server: every form of asking, and every way of asking wrongly."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image

from autoglm_api.manifest import Manifest
from autoglm_api.pictures import MAX_PIXELS
from autoglm_serving.answerer import load_answerer, warm_up
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused

SETTINGS = {"image_size": 4, "channels": 1, "fit": "squeeze"}


def write_graph(path: Path) -> None:
    """The mean brightness b of a picture, as probabilities (1 - b, b)."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "places"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["dark", "bright"], ["probabilities"], axis=1),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["pictures", 1, 4, 4])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["pictures", 2])
    numbers = {"white": np.array([[255.0]], np.float32), "one": np.array([[1.0]], np.float32)}
    constants = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    constants.append(numpy_helper.from_array(np.array([2, 3]), "places"))
    graph = helper.make_graph(nodes, "brightness", [pixels], [answer], initializer=constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(path))


def served(folder: Path, **changes: Any) -> Any:
    write_graph(folder / "model.onnx")
    manifest = {"labels": ("dark", "bright"), "inputs": ("pixels",), "settings": SETTINGS, **changes}
    found = load_answerer(
        folder, Manifest.model_construct(task="image-classification", max_length=0, **manifest), threads=1
    )
    warm_up(found)
    return found


@pytest.fixture
def answerer(tmp_path: Path) -> Any:
    return served(tmp_path)


def asked(shade: int, kind: str = "PNG") -> str:
    written = io.BytesIO()
    Image.new("L", (9, 5), shade).save(written, kind)
    return base64.b64encode(written.getvalue()).decode()


def test_pictures_are_asked_for_alone_as_objects_and_as_data_uris(answerer: Any) -> None:
    items = [
        asked(255),
        {"image": asked(0, "JPEG")},
        {"image": f"data:image/png;base64,{asked(255)}"},
        asked(255, "GIF"),
    ]
    answers = answerer.predict([answerer.parse(item, "data") for item in items])
    assert [answer["label"] for answer in answers] == ["bright", "dark", "bright", "bright"]
    assert answers[0]["scores"] == {"dark": 0.0, "bright": 1.0}


def test_many_pictures_are_answered_in_their_order(answerer: Any) -> None:
    shades = [index * 6 for index in range(40)]
    answers = answerer.predict([answerer.parse(asked(shade), "data") for shade in shades])
    assert np.allclose([answer["scores"]["bright"] * 255 for answer in answers], shades, atol=1e-3)


def _torn() -> str:
    """An upload that broke off."""
    noise = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(noise).save(written, "PNG")
    return base64.b64encode(written.getvalue()[:200]).decode()


def _wide() -> str:
    written = io.BytesIO()
    Image.new("1", (MAX_PIXELS // 1_000 + 1, 1_000)).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        ("no base64 at all!", "NotBase64", "data[3] is not base64"),
        (
            base64.b64encode(b"<svg/>").decode(),
            "NotImage",
            "data[3] is not an image that can be read; known formats: PNG",
        ),
        (asked(9)[:-1], "NotBase64", "data[3] is not base64"),
        (_torn(), "NotImage", "data[3] is a broken PNG image"),
        (_wide(), "TooManyPixels", "data[3] has 50001 x 1000 pixels; at most 50,000,000"),
        ("", "NoData", "data[3] is empty"),
        ({"image": ""}, "NoData", "data[3].image is empty"),
        (3, "BadItem", "data[3] must be an image's bytes as base64, got a number"),
        ({"image": [1]}, "BadItem", "data[3].image must be an image's bytes as base64, got a list"),
        ({"picture": asked(1)}, "BadItem", "data[3] must have image and nothing else"),
        ({"image": asked(1), "size": 3}, "BadItem", 'it has ["image", "size"]'),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(answerer: Any, item: object, code: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        answerer.parse(item, "data[3]")
    assert (refused.value.status, refused.value.code) == (422, code)
    assert said in refused.value.message


def test_a_model_that_is_not_what_its_manifest_says_is_never_served(tmp_path: Path) -> None:
    with pytest.raises(UnusableModelError, match="do not say 'fit'"):
        served(tmp_path, settings={"image_size": 4, "channels": 1})
    with pytest.raises(UnusableModelError, match=r"answers \(1, 2\) for 1 pictures and 3 labels"):
        served(tmp_path, labels=("a", "b", "c"))
    with pytest.raises(UnusableModelError, match=r"takes \['pixels'\], the manifest says \['input_ids'\]"):
        served(tmp_path, inputs=("input_ids",))
    with pytest.raises(UnusableModelError, match=r"model\.onnx failed"):
        served(tmp_path, settings={**SETTINGS, "image_size": 8})
