"""`python -m benchmarks.gpu_check`: each tuning method once on a GPU, and LoRA trials packed on it; `make gpu-check`.

The model is a GLM of a billion random weights in bfloat16, made in a temporary folder: nothing is downloaded. What it
finds is printed and written after each part, so that a run that is cut off leaves what it had.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import method_costs, packing
from benchmarks.random_glm import Shape, write_glm
from benchmarks.results import machine


@dataclass(frozen=True)
class Size:
    """What is run.

    Attributes:
        counts: how many workers share the card, one figure each.
    """

    shape: Shape
    batch: method_costs.Batch
    counts: tuple[int, ...]
    study: packing.Work


FULL = Size(
    Shape(layers=20, hidden=2_048, inner=5_632, heads=16, vocabulary=32_000),
    method_costs.Batch(examples=8, tokens=256, steps=10),
    counts=(1, 2, 4),
    study=packing.Work(trials=4, rows=128, tokens=128),
)
SMALL = Size(
    Shape(layers=2, hidden=64, inner=128, heads=4, vocabulary=1_100),
    method_costs.Batch(examples=4, tokens=16, steps=2),
    counts=(1, 2),
    study=packing.Work(trials=1, rows=16, tokens=16),
)


def main(arguments: list[str]) -> int:
    """Measure; 1 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", action="store_true", help="a tiny model, on a CPU too: shows that it runs")
    parser.add_argument("--only", choices=("methods", "packing"), help="one of the two parts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    import torch

    if not options.small and not torch.cuda.is_available():
        print(f"gpu-check: PyTorch {torch.__version__} sees no GPU here; run it on a machine with one", file=sys.stderr)
        return 1
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    size = SMALL if options.small else FULL
    told: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "machine": machine(),
        "shape": asdict(size.shape),
    }
    with tempfile.TemporaryDirectory(prefix="autoglm-gpu-check-") as folder:
        model = Path(folder) / "model"
        told["parameters"] = write_glm(model, size.shape, device=device)
        print(
            f"## {name}, PyTorch {torch.__version__}: GLM of {told['parameters']:,} random weights, bfloat16",
            flush=True,
        )
        if options.only != "packing":
            found = method_costs.measure(model, Path(folder), size.batch, on_cpu=options.small)
            _tell(told, "methods", [asdict(each) for each in found], method_costs.markdown(found, size.batch), options)
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()  # the workers shall have all of the card
        if options.only != "methods":
            shared = [packing.measure(model, Path(folder) / str(count), count, size.study) for count in size.counts]
            _tell(told, "packing", [asdict(each) for each in shared], packing.markdown(shared, size.study), options)
    return 0


def _tell(told: dict[str, Any], part: str, figures: Any, table: str, options: argparse.Namespace) -> None:
    told[part] = figures
    print(f"\n{table}", flush=True)
    if options.json:
        written: Mapping[str, Any] = {"name": "gpu_check", "small": options.small, **told}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
