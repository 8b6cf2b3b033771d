"""The other processes of data parallel training: started, told what to do, and gone with this one.

Each is a `follower` with a pipe from here. An order is a line in it; its end is the follower's end, so however this
process ends, even by SIGKILL, none is left behind.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autoglm_api.environment import STORAGE_URL, WorkerEnvironment
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run
from autoglm_trainer.errors import RankLost

if TYPE_CHECKING:  # it imports torch, which a crew can do without
    from autoglm_trainer.tuning.ranks import Order

logger = logging.getLogger(__name__)

READY = "ready\n"
_DYING_SECONDS = 5.0
_THREADS = "OMP_NUM_THREADS"


@dataclass
class Crew:
    """Ranks 1 and up.

    Attributes:
        folder: where the ranks leave their addresses.
    """

    folder: Path
    followers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Ranks in all."""
        return 1 + len(self.followers)

    def call(self, order: Order) -> None:
        """Give an order to every follower.

        Raises:
            RankLost: one is gone.
        """
        line = json.dumps(asdict(order)) + "\n"
        for follower in self.followers:
            _tell(follower, line, self)

    def explain(self) -> str:
        """A sentence about the rank that does not answer any more."""
        for rank, follower in enumerate(self.followers, start=1):
            try:
                code = follower.wait(_DYING_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return f"rank {rank} of {self.count} of data parallel training {how}; what it said is in the log"
        return f"a rank of {self.count} of data parallel training does not answer"

    def close(self) -> None:
        """End all followers, and remove the folder."""
        for follower in self.followers:
            follower.kill()
            for pipe in (follower.stdin, follower.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        logger.debug("rank %d had not read everything", follower.pid)
            follower.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def muster(run: Run, environment: WorkerEnvironment, digests: DataDigests, count: int) -> Crew:
    """Start ranks 1 to `count` - 1; back when they have model and data in memory.

    Args:
        run: the study's.
        environment: this process's.
        digests: of the rows that this process has read; the others must have the same.
        count: ranks in all.

    Raises:
        RankLost: one cannot load what this process has loaded.
    """
    crew = Crew(Path(tempfile.mkdtemp(prefix="ranks-", dir=environment.scratch)))
    # Followers never open the store.
    environ = {name: value for name, value in os.environ.items() if name != STORAGE_URL}
    environ[_THREADS] = str(max(1, environment.cpu_limit // count))
    told = {
        "run": run.model_dump(mode="json", by_alias=True),
        "environment": {**environment.model_dump(mode="json", by_alias=True), "storageUrl": ""},
        "digests": digests.model_dump(mode="json", by_alias=True),
        "folder": str(crew.folder),
        "count": count,
    }
    try:
        for rank in range(1, count):
            argv = [sys.executable, "-m", "autoglm_trainer.work.follower"]
            pipe = subprocess.PIPE
            crew.followers.append(subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=environ))
            _tell(crew.followers[-1], json.dumps({**told, "rank": rank}) + "\n", crew)
        for follower in crew.followers:
            assert follower.stdout is not None, "it was asked for"
            if follower.stdout.readline() != READY:
                raise RankLost(crew.explain())
    except BaseException:
        crew.close()
        raise
    logger.info("%d processes train each trial together", count)
    return crew


def _tell(follower: subprocess.Popen[str], line: str, crew: Crew) -> None:
    assert follower.stdin is not None, "it was asked for"
    try:
        follower.stdin.write(line)
        follower.stdin.flush()
    except BrokenPipeError as error:
        raise RankLost(crew.explain()) from error
