"""Startup, readiness and liveness probes, and the hook before stopping, which uses the same handlers."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

Json = dict[str, Any]
Execute = Callable[[list[str], float], Awaitable[int]]
"""Runs a command in the container with a limit in seconds and returns its exit code."""
# Until the first success a probe is asked more often than its period says: tests wait for it.
EAGER_SECONDS = 0.25


async def handle(handler: Json, address: str, ports: Json, execute: Execute, timeout_seconds: float) -> bool:
    """Runs one `exec`, `httpGet` or `tcpSocket` handler; True when it succeeded."""
    try:
        if "exec" in handler:
            return await execute(handler["exec"]["command"], timeout_seconds) == 0
        async with asyncio.timeout(timeout_seconds):
            if "httpGet" in handler:
                return await _http_get(handler["httpGet"], address, ports)
            target = handler["tcpSocket"]
            port = _port(target["port"], ports)
            _, writer = await asyncio.open_connection(target.get("host") or address, port)
            writer.close()
            return True
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


async def _http_get(request: Json, address: str, ports: Json) -> bool:
    scheme = request.get("scheme", "HTTP").lower()
    host, path = request.get("host") or address, request.get("path", "/")
    url = f"{scheme}://{host}:{_port(request['port'], ports)}/{path.lstrip('/')}"
    headers = {header["name"]: header["value"] for header in request.get("httpHeaders", [])}
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # a probe does not verify
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
        session.get(url, headers=headers, allow_redirects=False) as answer,
    ):
        return 200 <= answer.status < 400


def _port(port: int | str, ports: Json) -> int:
    return int(ports.get(str(port), port))


async def watch(probe: Json, ask: Callable[[float], Awaitable[bool]], decided: Callable[[bool], None]) -> None:
    """Asks again and again and calls `decided` with each change of the verdict, by the probe's thresholds.

    Args:
        probe: the probe's specification.
        ask: does it once with a limit in seconds.
        decided: told True after `successThreshold` successes in a row, False after `failureThreshold` failures.
    """
    period, timeout = float(probe.get("periodSeconds", 10)), float(probe.get("timeoutSeconds", 1))
    limits = {True: int(probe.get("successThreshold", 1)), False: int(probe.get("failureThreshold", 3))}
    await asyncio.sleep(float(probe.get("initialDelaySeconds", 0)))
    verdict: bool | None = None
    last, row, counted = None, 0, 0.0
    while True:
        answer = await ask(timeout)
        now = time.monotonic()
        if answer != last:
            last, row, counted = answer, 1, now
        elif answer or now - counted >= period:  # eager failures count once a period
            row, counted = row + 1, now
        if row >= limits[answer] and (answer != verdict or not answer):
            verdict = answer
            decided(answer)
            row = 0 if not answer else row
        await asyncio.sleep(period if verdict else min(period, EAGER_SECONDS))
