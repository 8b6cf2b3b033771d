"""The part of the kubelet's API that serves container logs, so that `kubectl logs` and every client work."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from e2e.cluster.container import Container

FOLLOW_SECONDS = 0.1
Find = Callable[[str, str, str], Container | None]
"""Finds a running or ended container by namespace, pod and container name."""


async def serve_logs(find: Find, address: str, certificate: Path, key: Path) -> tuple[web.AppRunner, int]:
    """Serves /containerLogs/{namespace}/{pod}/{container} on a free port; returns the server and its port."""

    async def logs(request: web.Request) -> web.StreamResponse:
        path = request.match_info
        container = find(path["namespace"], path["pod"], path["container"])
        if container is None:
            return web.Response(status=404, text=f"container {path['container']} in pod {path['pod']} not found")
        file = container.log_file(previous=request.query.get("previous") == "true")
        content = file.read_bytes() if file.exists() else b""
        if "tailLines" in request.query:
            lines = content.splitlines(keepends=True)
            content = b"".join(lines[max(len(lines) - int(request.query["tailLines"]), 0) :])
        if request.query.get("follow") != "true":
            return web.Response(body=content, content_type="text/plain")
        return await _follow(request, container, file, content)

    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate, key)
    site = web.TCPSite(runner, address, 0, ssl_context=trust)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def _follow(request: web.Request, container: Container, file: Path, content: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    offset = file.stat().st_size if file.exists() else 0
    await response.write(content)
    while True:
        over = container.exit_code is not None  # asked before reading, so that the last lines are read too
        if file.exists() and file.stat().st_size > offset:
            with file.open("rb") as stream:
                stream.seek(offset)
                fresh = stream.read()
            offset += len(fresh)
            await response.write(fresh)
        if over:
            await response.write_eof()
            return response
        await asyncio.sleep(FOLLOW_SECONDS)
