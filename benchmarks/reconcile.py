"""Many studies applied at once: how fast the operator makes their Jobs, against a bare loop POSTing the same Jobs."""

from __future__ import annotations

import asyncio
import copy
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
from e2e.cluster.controlplane import ControlPlane, free_port
from kubernetes.aio import client, config
from ruamel.yaml import YAML
from tests.postgres import start_postgres

from autoglm_operator.kube import JOBS, NAMESPACES, STUDIES, Kube, Object, Resource
from benchmarks.results import Aim, Row, Table, times
from benchmarks.studies import MODEL
from benchmarks.workers import REPOSITORY, start

CONNECTIONS = 16
TIMEOUT_SECONDS = 900.0
POLL_SECONDS = 0.1
_CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
_SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences", "selfLink", "labels")


@dataclass(frozen=True)
class Size:
    """Studies, workers each, namespaces they are spread over, and how long the standing operator is watched."""

    studies: int
    workers: int
    namespaces: int
    watch_seconds: float


FULL = Size(studies=200, workers=10, namespaces=10, watch_seconds=30.0)
SMALL = Size(studies=3, workers=2, namespaces=2, watch_seconds=1.0)

RATIO_AIM = 2 / 3


@dataclass(frozen=True)
class Measured:
    """What one run gave.

    Attributes:
        jobs: how many were made, by each side.
        operator_seconds: from the first study's POST to the last Job.
        bare_seconds: of the bare loop before and after.
        cpu_seconds: the operator's, from the first study's POST to the last Job.
        standing_cores: the operator's CPU seconds a second while all studies run.
    """

    jobs: int
    operator_seconds: float
    bare_seconds: tuple[float, ...]
    cpu_seconds: float
    peak_bytes: int
    standing_cores: float

    @property
    def ratio(self) -> float:
        """The operator's rate as a share of the bare loop's."""
        return times(fmean(self.bare_seconds), self.operator_seconds)


def run(folder: Path, size: Size) -> Table:
    """Start everything, measure, and stop everything."""
    with ExitStack() as started:
        plane = ControlPlane(folder / "plane")
        started.callback(plane.stop)
        plane.start()
        postgres = start_postgres(folder / "postgres")
        started.callback(postgres.stop)
        found = asyncio.run(_measure(plane.kubeconfig, postgres.dsn, folder, size))
    return Table(
        name="reconcile",
        title=f"{size.studies} studies of {size.workers} workers applied at once",
        rows=(
            Row("Jobs a second, operator", found.jobs / found.operator_seconds, ""),
            Row("Jobs a second, bare loop", found.jobs / fmean(found.bare_seconds), ""),
            Row("the operator's share of that rate", found.ratio, "", Aim("at least", RATIO_AIM)),
            Row("operator: from the first study to the last Job", found.operator_seconds, "s"),
            Row("operator: CPU in that time", found.cpu_seconds, "s"),
            Row("operator: peak memory", found.peak_bytes / 2**20, "MiB"),
            Row("operator: CPU while all studies run", found.standing_cores, "cores"),
        ),
        notes=(
            (
                f"{found.jobs:,} Jobs in {size.namespaces} new namespaces; a genuine API server, controller manager and"
                " etcd (without fsync) and PostgreSQL on the same machine, no kubelet."
            ),
            (
                f"The bare loop POSTs the Jobs that the operator made, {CONNECTIONS} at a time as the operator does,"
                " with the Job controller active, once before and once after; the operator's time includes POSTing the"
                " studies, making the namespaces' databases, creating the studies in them and writing status."
            ),
        ),
    )


async def _measure(kubeconfig: Path, dsn: str, folder: Path, size: Size) -> Measured:
    async with _connected(kubeconfig) as kube:
        await _prepare(kube)
        async with _operator(kubeconfig, dsn, folder) as operator:
            await _apply_studies(kube, "warm-up", Size(1, 1, 1, 0))
            await _until(lambda: _has_jobs(kube, 1))
            template = (await kube.list(JOBS, "warm-up-0"))[0]
            before = await _bare_loop(kube, "before", template, size)
            wanted = await _count(kube) + size.studies * size.workers
            began, idle = time.monotonic(), _cpu_seconds(operator)
            await _apply_studies(kube, "studies", size)
            await _until(lambda: _has_jobs(kube, wanted))
            seconds, cpu = time.monotonic() - began, _cpu_seconds(operator) - idle
            await _until(lambda: _is_settled(kube))
            standing = await _standing_cores(operator, size.watch_seconds)
            peak = _peak_bytes(operator.pid)
        after = await _bare_loop(kube, "after", template, size)
        return Measured(size.studies * size.workers, seconds, (before, after), cpu, peak, standing)


@asynccontextmanager
async def _connected(kubeconfig: Path) -> AsyncIterator[Kube]:
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig), client_configuration=configuration
    )
    configuration.connection_pool_maxsize = 64
    async with Kube(client.ApiClient(configuration), timeout_seconds=60.0) as kube:
        yield kube


@asynccontextmanager
async def _operator(kubeconfig: Path, dsn: str, folder: Path) -> AsyncIterator[psutil.Process]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "AUTOGLM_"))}
    environ |= {
        "KUBECONFIG": str(kubeconfig),
        "AUTOGLM_OPERATOR_DATABASE_URL": dsn,
        "AUTOGLM_OPERATOR_RECONCILERS": str(CONNECTIONS),
        "AUTOGLM_OPERATOR_HTTP_HOST": "127.0.0.1",
        "AUTOGLM_OPERATOR_HTTP_PORT": str(free_port("127.0.0.1")),
    }
    log = folder / "operator.log"
    process = start(("-m", "autoglm_operator.main"), log, environ)
    try:
        yield psutil.Process(process.pid)
    except TimeoutError as error:
        raise RuntimeError(f"{error}; the operator said:\n{log.read_text(errors='replace')[-3_000:]}") from error
    finally:
        process.terminate()
        process.wait()


async def _prepare(kube: Kube) -> None:
    """Install the CRDs and wait until they are served."""
    for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
        body: Object = YAML(typ="safe").load(file)
        await kube.create(_CRDS, None, body)
    await _until(lambda: kube.serves(STUDIES))


async def _apply_studies(kube: Kube, prefix: str, size: Size) -> None:
    """POST all studies, as many at a time as the bare loop does with Jobs."""
    for number in range(size.namespaces):
        await kube.create(NAMESPACES, None, {"metadata": {"name": f"{prefix}-{number}"}})
    bodies = [(f"{prefix}-{number % size.namespaces}", study(number, size.workers)) for number in range(size.studies)]
    await _post(kube, STUDIES, bodies)


def study(number: int, workers: int) -> Object:
    """One study with the task's own search space."""
    return {
        "apiVersion": "autoglm.io/v1alpha1",
        "kind": "AutoGLMStudy",
        "metadata": {"name": f"study-{number}"},
        "spec": {
            "task": "text-classification",
            "model": {"source": MODEL},
            "data": {"train": {"source": "s3://data/train.jsonl"}},
            "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
            "trials": {"max": 5 * workers, "parallel": workers},
        },
    }


async def _bare_loop(kube: Kube, prefix: str, template: Object, size: Size) -> float:
    """Seconds that POSTing the same number of the same Jobs takes; waits until the Job controller is done with them."""
    for number in range(size.namespaces):
        await kube.create(NAMESPACES, None, {"metadata": {"name": f"{prefix}-{number}"}})
    jobs = range(size.studies * size.workers)
    bodies = [(f"{prefix}-{number % size.namespaces}", bare_job(template, f"job-{number}")) for number in jobs]
    began = time.monotonic()
    await _post(kube, JOBS, bodies)
    seconds = time.monotonic() - began
    await _until(lambda: _is_settled(kube))
    return seconds


def bare_job(template: Object, name: str) -> Object:
    """A Job like `template` under another name, without what the API server and the controllers wrote into it."""
    job = copy.deepcopy(template)
    job.pop("status", None)
    labels = dict(job["metadata"].get("labels", {}))
    job["metadata"] = {key: value for key, value in job["metadata"].items() if key not in _SERVERS_OWN}
    job["metadata"] |= {"name": name, "labels": labels}
    job["metadata"].pop("namespace", None)
    job["spec"].pop("selector", None)
    pod = job["spec"]["template"]["metadata"]
    pod["labels"] = {key: value for key, value in pod["labels"].items() if key not in ("controller-uid", "job-name")}
    return job


async def _post(kube: Kube, resource: Resource, bodies: Sequence[tuple[str, Object]]) -> None:
    left = iter(bodies)

    async def send() -> None:
        for namespace, body in left:
            await kube.create(resource, namespace, body)

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))


async def _count(kube: Kube) -> int:
    """All Jobs of the cluster, without reading them."""
    answer = await kube._request("GET", JOBS.path(None), query={"limit": "1"})
    return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount", 0))


async def _has_jobs(kube: Kube, wanted: int) -> bool:
    return await _count(kube) >= wanted


async def _is_settled(kube: Kube) -> bool:
    """Whether the Job controller has made a pod for every Job."""
    return all((job.get("status") or {}).get("active") for job in await kube.list(JOBS, None))


async def _until(condition: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {TIMEOUT_SECONDS:g} s")
        await asyncio.sleep(POLL_SECONDS)


async def _standing_cores(process: psutil.Process, seconds: float) -> float:
    before, began = _cpu_seconds(process), time.monotonic()
    await asyncio.sleep(seconds)
    return (_cpu_seconds(process) - before) / (time.monotonic() - began)


def _cpu_seconds(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _peak_bytes(pid: int) -> int:
    """The kernel's own high-water mark of resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1_024 for line in status.splitlines() if line.startswith("VmHWM"))
