"""`image-classification`: one label for each picture, on a pretrained network or on one trained from nothing."""

from __future__ import annotations

from dataclasses import replace

from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, When

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import FULL, HEAD, IMAGE_METHODS, SCRATCH, UNFREEZE, good_point, method_knobs, method_space

# Files that are taken for pictures; what they are, their content says.
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# moves: shifted, turned and zoomed a little; mirrors: half of them left for right, too; photo: light and contrast, too.
AUGMENTATIONS = ("none", "moves", "mirrors", "photo")
FITS = ("squeeze", "crop")
# Networks on pictures bear higher rates than language models.
_RATES = {"unfreeze": 5e-4, "full": 5e-4}
_TRAINED = tuple(name for name, method in IMAGE_METHODS.items() if method.gradient)


def _searched(*methods: str) -> tuple[Parameter, ...]:
    """What methods with gradient search besides."""
    when = When(parameter="method", in_=methods)
    return (
        Parameter(name="augmentation", categorical=Choices(choices=("none", "moves", "mirrors")), when=when),
        Parameter(name="label_smoothing", float_=FloatRange(min=0, max=0.2), when=when),
    )


_KNOBS = {
    **method_knobs(IMAGE_METHODS, default="head"),
    "augmentation": Knob("none", choices=AUGMENTATIONS, methods=_TRAINED, by_method={"scratch": "moves"}),
    "augmentation_strength": Knob(0.5, low=0, high=1, methods=_TRAINED),
    # 0 = what the network was made for; without one 64.
    "image_size": Knob(0, low=0, high=2_048),
    "fit": Knob("squeeze", choices=FITS),
    "pooling": Knob("mean", choices=("mean", "first")),
    "class_weight": Knob("none", choices=("none", "balanced")),
}
_KNOBS["learning_rate"] = replace(_KNOBS["learning_rate"], by_method={**_KNOBS["learning_rate"].by_method, **_RATES})
_KNOBS["epochs"] = replace(_KNOBS["epochs"], default=10, by_method={"scratch": 30})
_KNOBS["head_c"] = replace(_KNOBS["head_c"], default=1.0)

_TUNED = TaskDeclaration(
    name="image-classification",
    summary="one label for each picture, on a pretrained network or on one trained from nothing",
    columns={
        "image": Column(
            "image", "its bytes (as base64 where a table is text), or a file beside the table; a folder needs no column"
        ),
        "label": Column("label", "its class; in a folder of images the folder that it lies in", answer=True),
    },
    # A ring of 16 x 16 pixels.
    example={
        "image": "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAL0lEQVR42mP8z8DEwMDEwMDwx57x9xPG7z+YfnBARJ"
        "gYGJg4fjCxfGD4Y88IUwYALAoLT9uwhuAAAAAASUVORK5CYII="
    },
    metrics={
        "accuracy": "Maximize",
        "f1_macro": "Maximize",
        "precision": "Maximize",
        "recall": "Maximize",
        "top5_accuracy": "Maximize",
        "loss": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("accuracy", "f1_macro", "top5_accuracy", "loss"),
    knobs=_KNOBS,
    parameters=(*method_space((HEAD, UNFREEZE, FULL), epochs=(4, 40), rates=_RATES), *_searched("unfreeze", "full")),
    points=(
        good_point("head", head_c=1.0),
        good_point(
            "unfreeze",
            learning_rate=1e-3,
            epochs=20,
            batch_size=16,
            unfrozen_layers=1,
            layer_decay=1.0,
            augmentation="moves",
            label_smoothing=0.0,
        ),
        good_point("full", learning_rate=5e-4, epochs=20, batch_size=16, augmentation="moves", label_smoothing=0.0),
    ),
    trainer="autoglm_trainer.tasks.image_classification:ImageClassification",
    server="autoglm_serving.tasks.image_classification:PictureClassifier",
    refits=True,
    base_model="optional",
    own_methods=IMAGE_METHODS,
)
# Without a network to begin with there is one method, and sizes of pictures to choose from.
_SCRATCH_KNOBS = {**_KNOBS, "method": Knob("scratch", choices=("scratch",))}
IMAGE_CLASSIFICATION = replace(
    _TUNED,
    alone=replace(
        _TUNED,
        knobs=_SCRATCH_KNOBS,
        parameters=(
            *method_space((SCRATCH,), epochs=(10, 60)),
            *_searched("scratch"),
            Parameter(name="image_size", int_=IntRange(min=32, max=96, step=32)),
        ),
        points=(
            good_point(
                "scratch",
                learning_rate=3e-3,
                epochs=30,
                batch_size=16,
                augmentation="moves",
                label_smoothing=0.1,
                image_size=64,
            ),
        ),
    ),
)
