"""`autoglm-trainer work` and `autoglm-trainer export`; both are told everything by their environment.

torch and numpy read the number of threads when they are imported, so nothing heavy is imported before it is set.
"""

from __future__ import annotations

import argparse
import os
import sys

from autoglm_api.environment import WorkerEnvironment
from autoglm_api.exits import ExitCode

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    """Entry point of the trainer image."""
    parser = argparse.ArgumentParser(prog="autoglm-trainer", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=["work", "export"])
    command: str = parser.parse_args().command
    try:
        environment = WorkerEnvironment.read(os.environ)
    except KeyError as error:
        sys.stderr.write(f"autoglm-trainer: the environment variable {error.args[0]} is not set\n")
        sys.exit(ExitCode.OTHER)
    except ValueError as error:
        sys.stderr.write(f"autoglm-trainer: the environment cannot be read: {error}\n")
        sys.exit(ExitCode.OTHER)
    for name in THREADS:
        os.environ.setdefault(name, str(max(1, environment.cpu_limit // max(1, environment.ranks, environment.gpus))))
    # Threads that wait by spinning take each other's cores where those are shared or throttled: ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from .work.process import export, work

    sys.exit(work(environment) if command == "work" else export(environment))


if __name__ == "__main__":
    main()
