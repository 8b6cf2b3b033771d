"""`python -m benchmarks [name…]`: run benchmarks one after another, print a table each."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import few_shot, fixed_cost, reading, reconcile, search, tasks, throughput
from benchmarks.results import Table, machine

Benchmark = Callable[[Path, bool], Table]

BENCHMARKS: Mapping[str, Benchmark] = {
    "fixed_cost": lambda folder, small: fixed_cost.run(folder, fixed_cost.SMALL if small else fixed_cost.FULL),
    "throughput": lambda folder, small: throughput.run(folder, throughput.SMALL if small else throughput.FULL),
    "reconcile": lambda folder, small: reconcile.run(folder, reconcile.SMALL if small else reconcile.FULL),
    "search": lambda folder, small: search.run(folder, search.SMALL if small else search.FULL),
    "few_shot": lambda folder, small: few_shot.run(folder, few_shot.SMALL if small else few_shot.FULL),
    "tasks": lambda folder, small: tasks.run(folder, tasks.SMALL if small else tasks.FULL),
    "reading": lambda folder, small: reading.run(folder, reading.SMALL if small else reading.FULL),
}


def main(arguments: list[str]) -> int:
    """Run what is named, or everything; 0 also when an aim is missed: the table says so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--small", action="store_true", help="tiny sizes: shows that it runs, its figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    found = []
    for name in options.names or BENCHMARKS:
        before = machine()
        with tempfile.TemporaryDirectory(prefix="autoglm-bench-") as folder:
            table = BENCHMARKS[name](Path(folder), options.small)
        print(f"\n{table.markdown()}\n- `{command}` on {_sentence(before)}\n", flush=True)
        found.append({**table.to_dict(), "command": command, "machine": before})
        if options.json:
            options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0


def _sentence(where: Mapping[str, object]) -> str:
    return f"{where['cores']} cores ({where['cpu']}), load {where['load']} before, Python {where['python']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
