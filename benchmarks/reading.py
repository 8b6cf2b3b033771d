"""A file larger than memory: what reading all its rows needs, and what a task that keeps a sample of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Aim, Row, Table

GIBIBYTE = 2**30
MEMORY_AIM_MIB = 1_024.0


@dataclass(frozen=True)
class Size:
    """How large the file is, and how many rows the task keeps."""

    size_bytes: int
    limit: int


FULL = Size(size_bytes=2 * GIBIBYTE, limit=100_000)
SMALL = Size(size_bytes=2**20, limit=100)

READ_ALL = """
records = read_records(source, place)
count = sum(1 for _ in records)
"""
READ_A_SAMPLE = """
data = Data.model_validate({"train": {"source": source, "limit": limit}})
count = len(load_texts(data, place, seed=0).splits.train)
"""
CHILD = """
import json, re, sys, time
from functools import partial
from pathlib import Path
from autoglm_api.locations import locate_rows
from autoglm_api.study import Data
from autoglm_trainer.rows.door import read_records
from autoglm_trainer.rows.texts import load_texts
source, limit = sys.argv[1], int(sys.argv[2])
place = partial(locate_rows, claims_root=Path("/"), credentials={})
def peak():
    # Not getrusage: its figure begins with that of the process which started this one.
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
before, started = peak(), time.monotonic()
%s
print(json.dumps({"rows": count, "seconds": time.monotonic() - started, "peak": peak(), "before": before}))
"""


@dataclass(frozen=True)
class Reading:
    """What one process needed; memory in MiB, `before` with all modules imported."""

    rows: int
    seconds: float
    peak: float
    before: float


def run(folder: Path, size: Size) -> Table:
    """Write the file, then read it in one process for each way."""
    path = folder / "rows.jsonl"
    rows = write(path, size.size_bytes)
    whole, sample = measure(READ_ALL, path, size.limit), measure(READ_A_SAMPLE, path, size.limit)
    assert whole.rows == rows, f"{whole.rows} rows were read of {rows}"
    megabytes = path.stat().st_size / 1e6
    memory = Aim("at most", MEMORY_AIM_MIB)
    return Table(
        name="reading",
        title="Rows larger than memory",
        rows=(
            Row("all rows: peak memory", whole.peak, "MiB", memory),
            Row("all rows: speed", megabytes / whole.seconds, "MB/s"),
            Row("a sample for a task: peak memory", sample.peak, "MiB", memory),
            Row("a sample for a task: speed", megabytes / sample.seconds, "MB/s"),
        ),
        notes=(
            (
                f"{megabytes:,.0f} MB of JSONL, {rows:,} rows of about 1 kB, on this machine's disk; a process"
                f" each, its largest resident memory ({whole.before:.0f} MiB of it before the first byte is read)."
            ),
            f"The sample is `data.train.limit: {size.limit:,}` of text-classification, cleaned and split.",
        ),
    )


def write(path: Path, size_bytes: int) -> int:
    """A file of at least so many bytes; returns its rows."""
    filling = " ".join(f"word{number}" for number in range(120))
    count = written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size_bytes:
            row = {"text": f"row {count} 中文 {filling}", "label": f"label {count % 10}"}
            written += file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def measure(body: str, path: Path, limit: int) -> Reading:
    """Run `body` in a process of its own."""
    command = [sys.executable, "-c", CHILD % body, path.as_uri(), str(limit)]
    answered = subprocess.run(command, capture_output=True, text=True, check=True)
    return Reading(**json.loads(answered.stdout))
