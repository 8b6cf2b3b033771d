"""Many studies applied at once: how fast the operator makes their Jobs, against a bare loop POSTing the same Jobs."""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
from e2e.cluster.controlplane import ControlPlane, free_port
from kubernetes.aio import client, config
from ruamel.yaml import YAML
from tests.postgres import start_postgres

from autoglm_api.names import LABEL_MANAGED_BY
from autoglm_operator.kube import JOBS, NAMESPACES, PODS, STUDIES, Kube, Object, Resource, read_proxy_once
from benchmarks.results import Aim, Row, Table, times
from benchmarks.studies import MODEL
from benchmarks.workers import REPOSITORY, start

CONNECTIONS = 16
POLL_SECONDS = 0.1
_CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
_SELECTORS = ("controller-uid", "job-name")
_SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences", "selfLink", "labels")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        workers: of each study.
        namespaces: over which the studies are spread.
        watch_seconds: how long the standing operator is watched.
        patience_seconds: how long each step may take.
    """

    studies: int
    workers: int
    namespaces: int
    watch_seconds: float
    patience_seconds: float = 900.0


FULL = Size(studies=200, workers=10, namespaces=10, watch_seconds=30.0)
SMALL = Size(studies=3, workers=2, namespaces=2, watch_seconds=1.0, patience_seconds=90.0)

RATIO_AIM = 2 / 3


@dataclass(frozen=True)
class Pace:
    """Seconds from the first POST until the last Job is there, and until the Job controller has made each its pod."""

    jobs: float
    pods: float


@dataclass(frozen=True)
class Measured:
    """What one run gave.

    Attributes:
        jobs: how many were made, by each side.
        apply_seconds: of POSTing the studies, while the operator is at work already.
        operator: its pace, from the first study's POST.
        bare: of the bare loop before and after.
        hurried: of the same loop with as many POSTs under way as the operator has, before and after.
        cpu_seconds: the operator's, from the first study's POST to the last Job.
        standing_cores: the operator's CPU seconds a second while all studies run.
    """

    jobs: int
    apply_seconds: float
    operator: Pace
    bare: tuple[Pace, ...]
    hurried: tuple[Pace, ...]
    cpu_seconds: float
    peak_bytes: int
    standing_cores: float


def _mean(paces: Sequence[Pace]) -> Pace:
    return Pace(fmean(pace.jobs for pace in paces), fmean(pace.pods for pace in paces))


def run(folder: Path, size: Size) -> Table:
    """Start everything, measure, and stop everything."""
    with ExitStack() as started:
        plane = ControlPlane(folder / "plane")
        started.callback(plane.stop)
        plane.start()
        postgres = start_postgres(folder / "postgres")
        started.callback(postgres.stop)
        return table(asyncio.run(_measure(plane.kubeconfig, postgres.dsn, folder, size)), size)


def table(found: Measured, size: Size) -> Table:
    """What was measured, beside the bare loop's and the hurried loop's rates."""
    bare, hurried, aim = _mean(found.bare), _mean(found.hurried), Aim("at least", RATIO_AIM)
    return Table(
        name="reconcile",
        title=f"{size.studies} studies of {size.workers} workers applied at once",
        rows=(
            Row("Jobs a second, operator", found.jobs / found.operator.jobs, ""),
            Row("Jobs a second, bare loop", found.jobs / bare.jobs, ""),
            Row("the operator's share of the bare loop's rate", times(bare.jobs, found.operator.jobs), "", aim),
            Row("workers' pods a second, operator", found.jobs / found.operator.pods, ""),
            Row("workers' pods a second, bare loop", found.jobs / bare.pods, ""),
            Row("the operator's share of the bare loop's pods", times(bare.pods, found.operator.pods), ""),
            Row(f"Jobs a second, {CONNECTIONS} POSTs at a time", found.jobs / hurried.jobs, ""),
            Row("the operator's share of the hurried loop's rate", times(hurried.jobs, found.operator.jobs), ""),
            Row(f"workers' pods a second, {CONNECTIONS} POSTs at a time", found.jobs / hurried.pods, ""),
            Row("the operator's share of the hurried loop's pods", times(hurried.pods, found.operator.pods), ""),
            Row("operator: from the first study to the last Job", found.operator.jobs, "s"),
            Row("of that: until all studies are POSTed", found.apply_seconds, "s"),
            Row("operator: from the first study to the last pod", found.operator.pods, "s"),
            Row("operator: CPU until the last Job", found.cpu_seconds, "s"),
            Row("operator: peak memory", found.peak_bytes / 2**20, "MiB"),
            Row("operator: CPU while all studies run", found.standing_cores, "cores"),
        ),
        notes=(
            (
                f"{found.jobs:,} Jobs in {size.namespaces} new namespaces; a genuine API server, controller manager and"
                " etcd (without fsync) and PostgreSQL on the same machine, no kubelet."
            ),
            (
                "The bare loop POSTs the Jobs that the operator made, one after another with the operator's own client,"
                f" with the Job controller active, once before and once after; so does one that keeps {CONNECTIONS}"
                " POSTs under way, as the operator does. The operator's time includes POSTing the studies, making the"
                " namespaces' databases, creating the studies in them and writing status."
            ),
        ),
    )


async def _measure(kubeconfig: Path, dsn: str, folder: Path, size: Size) -> Measured:
    jobs = size.studies * size.workers
    async with _connected(kubeconfig) as kube:
        await _prepare(kube, size)
        with _operator(kubeconfig, dsn, folder) as operator:
            await _make_namespaces(kube, "warm-up", 1)
            await _apply_studies(kube, "warm-up", replace(size, studies=1, workers=1, namespaces=1))
            await _until(lambda: _has(kube, JOBS, 1), size, operator)
            template = (await kube.list(JOBS, "warm-up-0"))[0]
            bare = [await _bare_loop(kube, "bare-before", template, size, at_a_time=1)]
            hurried = [await _bare_loop(kube, "hurried-before", template, size, at_a_time=CONNECTIONS)]
            await _make_namespaces(kube, "studies", size.namespaces)
            wanted_jobs, wanted_pods = await _count(kube, JOBS) + jobs, await _count(kube, PODS) + jobs
            began, idle = time.monotonic(), operator.cpu_seconds()
            await _apply_studies(kube, "studies", size)
            applied = time.monotonic() - began
            await _until(lambda: _has(kube, JOBS, wanted_jobs), size, operator)
            until_jobs, cpu = time.monotonic() - began, operator.cpu_seconds() - idle
            await _until(lambda: _has(kube, PODS, wanted_pods), size, operator)
            pace = Pace(until_jobs, time.monotonic() - began)
            await _until(lambda: _is_settled(kube), size, operator)
            standing = await operator.standing_cores(size.watch_seconds)
            peak = operator.peak_bytes()
        hurried.append(await _bare_loop(kube, "hurried-after", template, size, at_a_time=CONNECTIONS))
        bare.append(await _bare_loop(kube, "bare-after", template, size, at_a_time=1))
        return Measured(jobs, applied, pace, tuple(bare), tuple(hurried), cpu, peak, standing)


@dataclass(frozen=True)
class Operator:
    """The operator's process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Notice that it has ended.

        Raises:
            RuntimeError: with the end of its log.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"the operator ended with {self.process.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3_000:]

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    async def standing_cores(self, seconds: float) -> float:
        """CPU seconds a second while nothing is asked of it."""
        before, began = self.cpu_seconds(), time.monotonic()
        await asyncio.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)

    def peak_bytes(self) -> int:
        """The kernel's own high-water mark of resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1_024 for line in status.splitlines() if line.startswith("VmHWM"))


@asynccontextmanager
async def _connected(kubeconfig: Path) -> AsyncIterator[Kube]:
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(kubeconfig), client_configuration=configuration
    )
    configuration.connection_pool_maxsize = 64
    read_proxy_once(configuration)  # as the operator does
    async with Kube(client.ApiClient(configuration), timeout_seconds=60.0) as kube:
        yield kube


@contextmanager
def _operator(kubeconfig: Path, dsn: str, folder: Path) -> Iterator[Operator]:
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
        yield Operator(process, log)
    finally:
        process.terminate()
        process.wait()


async def _prepare(kube: Kube, size: Size) -> None:
    """Install the CRDs and wait until they are served."""
    for file in sorted((REPOSITORY / "crds").glob("*.yaml")):
        body: Object = YAML(typ="safe").load(file)
        await kube.create(_CRDS, None, body)
    await _until(lambda: kube.serves(STUDIES), size)


async def _make_namespaces(kube: Kube, prefix: str, count: int) -> None:
    """Before either side's clock runs."""
    for number in range(count):
        await kube.create(NAMESPACES, None, {"metadata": {"name": f"{prefix}-{number}"}})


async def _apply_studies(kube: Kube, prefix: str, size: Size) -> None:
    """POST all studies, as many at a time as the bare loop does with Jobs."""
    bodies = [(f"{prefix}-{number % size.namespaces}", study(number, size.workers)) for number in range(size.studies)]
    await _post(kube, STUDIES, bodies, CONNECTIONS)


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


async def _bare_loop(kube: Kube, prefix: str, template: Object, size: Size, at_a_time: int) -> Pace:
    """How fast POSTing the same number of the same Jobs is; waits until the Job controller is done with them."""
    await _make_namespaces(kube, prefix, size.namespaces)
    jobs = range(size.studies * size.workers)
    bodies = [(f"{prefix}-{number % size.namespaces}", bare_job(template, f"job-{number}")) for number in jobs]
    wanted = await _count(kube, PODS) + len(bodies)
    began = time.monotonic()
    await _post(kube, JOBS, bodies, at_a_time)
    until_jobs = time.monotonic() - began
    await _until(lambda: _has(kube, PODS, wanted), size)
    pace = Pace(until_jobs, time.monotonic() - began)
    await _until(lambda: _is_settled(kube), size)
    return pace


def bare_job(template: Object, name: str) -> Object:
    """A Job like `template` under another name, without what the API server and the controllers wrote into it.

    It is nobody's: the operator watches by label, and must not take it for a study's.
    """
    job = copy.deepcopy(template)
    job.pop("status", None)
    labels = {**job["metadata"].get("labels", {}), LABEL_MANAGED_BY: "benchmark"}
    job["metadata"] = {key: value for key, value in job["metadata"].items() if key not in _SERVERS_OWN}
    job["metadata"] |= {"name": name, "labels": labels}
    job["metadata"].pop("namespace", None)
    job["spec"].pop("selector", None)
    pod = job["spec"]["template"]["metadata"]
    # With the prefix batch.kubernetes.io/ from Kubernetes 1.27 on.
    kept = {key: value for key, value in pod["labels"].items() if key.rpartition("/")[2] not in _SELECTORS}
    pod["labels"] = {**kept, LABEL_MANAGED_BY: "benchmark"}
    return job


async def _post(kube: Kube, resource: Resource, bodies: Sequence[tuple[str, Object]], at_a_time: int) -> None:
    left = iter(bodies)

    async def send() -> None:
        for namespace, body in left:
            await kube.create(resource, namespace, body)

    await asyncio.gather(*(send() for _ in range(at_a_time)))


async def _count(kube: Kube, resource: Resource) -> int:
    """All objects of a kind in the cluster, without reading them."""
    answer = await kube._request("GET", resource.path(None), query={"limit": "1"})
    return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount", 0))


async def _has(kube: Kube, resource: Resource, wanted: int) -> bool:
    return await _count(kube, resource) >= wanted


async def _is_settled(kube: Kube) -> bool:
    """Whether the Job controller has made a pod for every Job."""
    return all((job.get("status") or {}).get("active") for job in await kube.list(JOBS, None))


async def _until(condition: Callable[[], Awaitable[Any]], size: Size, operator: Operator | None = None) -> None:
    deadline = time.monotonic() + size.patience_seconds
    while not await condition():
        if operator is not None:
            operator.check()
        if time.monotonic() > deadline:
            said = f"; the operator said:\n{operator.tail()}" if operator else ""
            raise TimeoutError(f"not so after {size.patience_seconds:g} s{said}")
        await asyncio.sleep(POLL_SECONDS)
