"""A rank above 0 of data parallel training: loads what rank 0 has loaded, follows its orders, and ends with it.

It never opens the study's database, and signals are rank 0's affair; the end of its standard input is its own end,
whatever it is doing.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from autoglm_api.environment import WorkerEnvironment
from autoglm_api.run import Run
from autoglm_trainer.errors import TrainerError
from autoglm_trainer.logs import configure

from .crew import READY
from .places import input_places

logger = logging.getLogger(__name__)


def main() -> None:
    """Read what to load, load it, and train at every order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    first = sys.stdin.readline()
    if not first:
        return
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), name="orders", daemon=True).start()
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    told = json.loads(first)
    run = Run.model_validate(told["run"])
    environment = WorkerEnvironment.model_validate(told["environment"])
    configure(f"{run.namespace}/{run.name}/{run.uid}")
    logging.getLogger().setLevel(logging.WARNING)  # what goes well, rank 0 has said
    try:
        loaded = _load(run, environment, told)
    except TrainerError as error:
        sys.exit(f"rank {told['rank']}: {error}")
    answers.write(READY)
    answers.close()
    _follow(loaded, orders, told)


def _listen(orders: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)


def _load(run: Run, environment: WorkerEnvironment, told: dict[str, Any]) -> Any:  # a LoadedTuned of any task
    import torch

    from autoglm_trainer.tasks import get_task

    if torch.cuda.is_available():
        torch.cuda.set_device(told["rank"])
    loaded = get_task(run.task).load(run, input_places(environment))
    if loaded.digests.model_dump(mode="json", by_alias=True) != told["digests"]:
        sys.exit(f"rank {told['rank']}: data: the rows have changed since rank 0 read them")
    return loaded


def _follow(loaded: Any, orders: queue.SimpleQueue[str], told: dict[str, Any]) -> None:
    from autoglm_trainer.tuning.ranks import Order, join

    loaded.ranks = join(told["rank"], told["count"], Path(told["folder"]), loaded.base.device)
    while True:
        order = Order(**json.loads(orders.get()))
        try:
            loaded.follow(order)
        except TrainerError as error:  # rank 0 meets the same, or learns of it by this process's end
            sys.exit(f"rank {told['rank']}: {error}")


if __name__ == "__main__":
    main()
