"""ClusterIPs that work: each is an address on the bridge, and connections to it are passed to a ready endpoint.

This is kube-proxy's oldest mode. Pods and tests use Services as in a cluster, by address or, in pods, by name.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

from e2e.cluster.network import NetworkError, PodNetwork, ip

Json = dict[str, Any]
Key = tuple[str, str]
CONNECT_TIMEOUT_SECONDS = 2.0
log = logging.getLogger(__name__)


class ServiceProxy:
    """Keeps one listener a Service port, from Services and Endpoints as they come."""

    def __init__(self, network: PodNetwork) -> None:
        self._network = network
        self._services: dict[Key, Json] = {}
        self._endpoints: dict[Key, Json] = {}
        self._listeners: dict[tuple[str, int], asyncio.Server] = {}
        self._lock = asyncio.Lock()
        self._relays: set[asyncio.Task[None]] = set()

    def on_service(self, event: str, service: Json) -> None:
        """Takes a Service's change."""
        _keep(self._services, event, service)

    def on_endpoints(self, event: str, endpoints: Json) -> None:
        """Takes an Endpoints' change."""
        _keep(self._endpoints, event, endpoints)

    def host_names(self, namespace: str) -> str:
        """Lines for /etc/hosts of a pod in `namespace`: every Service with an address."""
        lines = []
        for (owner, name), service in sorted(self._services.items()):
            address = service["spec"].get("clusterIP")
            if address in {None, "", "None"}:  # headless: the name means the pods
                ready = self._addresses((owner, name), None)
                address = ready[0][0] if ready else None
            if address:
                names = [f"{name}.{owner}", f"{name}.{owner}.svc", f"{name}.{owner}.svc.cluster.local"]
                lines.append(" ".join([address, *([name] if owner == namespace else []), *names]))
        return "".join(f"{line}\n" for line in lines)

    async def sync(self) -> None:
        """Opens and closes listeners so that they match the Services."""
        async with self._lock:
            wanted = {
                (service["spec"]["clusterIP"], port["port"]): (key, port.get("name"))
                for key, service in self._services.items()
                if service["spec"].get("clusterIP") not in {None, "", "None"}
                for port in service["spec"].get("ports", [])
            }
            dropped = self._listeners.keys() - wanted.keys()
            for place in dropped:
                self._listeners.pop(place).close()
            for place in wanted.keys() - self._listeners.keys():
                await self._listen(place, *wanted[place])
            for address in {address for address, _ in dropped} - {address for address, _ in wanted}:
                await asyncio.to_thread(ip, "addr", "del", f"{address}/32", "dev", self._network.bridge)

    async def close(self) -> None:
        """Closes listeners and connections."""
        for server in self._listeners.values():
            server.close()
        for relay in self._relays:
            relay.cancel()

    async def _listen(self, place: tuple[str, int], key: Key, port_name: str | None) -> None:
        address, port = place
        try:
            await asyncio.to_thread(ip, "addr", "replace", f"{address}/32", "dev", self._network.bridge)

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                self._relays.add(task)
                task.add_done_callback(self._relays.discard)
                try:
                    await self._relay(reader, writer, key, port_name)
                except asyncio.CancelledError:  # by close(); asyncio's streams log a traceback when it goes further
                    writer.transport.abort()

            self._listeners[place] = await asyncio.start_server(accept, address, port)
        except (OSError, NetworkError) as error:
            log.warning("Service %s/%s cannot listen on %s:%s: %s", *key, address, port, error)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: Key, port_name: str | None
    ) -> None:
        upstream = await self._connect(key, port_name)
        if upstream is None:
            writer.transport.abort()  # nobody ready: a reset, as a rejecting rule does
            return
        up_reader, up_writer = upstream
        try:
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        finally:
            # Never left to the garbage collector: it runs in any thread, frees the descriptor first, and only then
            # takes it out of the selector, where a newer connection may have the same number and is never read again.
            up_writer.close()
            writer.close()

    async def _connect(
        self, key: Key, port_name: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to a ready endpoint, the next one where one does not answer; None when none does."""
        candidates = self._addresses(key, port_name)
        random.shuffle(candidates)
        for address, port in candidates:
            try:
                return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_TIMEOUT_SECONDS)
            except (OSError, TimeoutError):
                continue
        return None

    def _addresses(self, key: Key, port_name: str | None) -> list[tuple[str, int]]:
        endpoints = self._endpoints.get(key, {})
        return [
            (address["ip"], port["port"])
            for subset in endpoints.get("subsets") or []
            for port in subset.get("ports", [])
            if port_name is None or port.get("name") == port_name
            for address in subset.get("addresses") or []
        ]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def _keep(known: dict[Key, Json], event: str, item: Json) -> None:
    key = (item["metadata"]["namespace"], item["metadata"]["name"])
    if event == "DELETED":
        known.pop(key, None)
    else:
        known[key] = item
