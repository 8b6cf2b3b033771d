"""The node's own small client of the API server: plain dictionaries, watches that survive a restart of the server."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp

Json = dict[str, Any]
OnChange = Callable[[str, Json], None]
RETRY_SECONDS = 0.3
log = logging.getLogger(__name__)


class ApiError(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One connection pool with a bearer token. Make it inside the event loop that uses it."""

    def __init__(self, url: str, token: str, ca_file: str) -> None:
        self._session = aiohttp.ClientSession(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file), limit=64),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def request(
        self, method: str, path: str, body: Json | None = None, content_type: str = "application/json"
    ) -> Json:
        """Sends one request.

        Raises:
            ApiError: the answer is not a 2xx.
            aiohttp.ClientError: no answer.
        """
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": content_type}) as answer:
            content = await answer.json(content_type=None)
            if answer.status >= 300:
                raise ApiError(answer.status, content.get("message", "") if isinstance(content, dict) else str(content))
            return dict(content)

    async def find(self, path: str) -> Json | None:
        """GETs an object; None when there is none."""
        try:
            return await self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def merge(self, path: str, body: Json) -> Json | None:
        """Merge-patches an object; None when it is gone or another one has its name now."""
        try:
            return await self.request("PATCH", path, body, "application/merge-patch+json")
        except ApiError as error:
            if error.status in {404, 409}:
                return None
            raise

    async def follow(self, path: str, on_change: OnChange) -> None:
        """Calls `on_change("MODIFIED" | "DELETED", object)` for everything under `path`, for ever."""
        known: dict[str, Json] = {}
        while True:
            try:
                listed = await self.request("GET", path)
                fresh = {item["metadata"]["uid"]: item for item in listed["items"]}
                for uid in known.keys() - fresh.keys():
                    on_change("DELETED", known[uid])
                for item in fresh.values():
                    on_change("MODIFIED", item)
                known = fresh
                await self._watch(path, listed["metadata"]["resourceVersion"], known, on_change)
            except (aiohttp.ClientError, TimeoutError, ApiError) as error:
                log.info("watch of %s starts again: %s", path, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, path: str, version: str, known: dict[str, Json], on_change: OnChange) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(path, params=params, timeout=timeout) as answer:
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":  # the version is too old: list again
                        return
                    if event["type"] == "BOOKMARK":
                        continue
                    item = event["object"]
                    if event["type"] == "DELETED":
                        known.pop(item["metadata"]["uid"], None)
                        on_change("DELETED", item)
                    else:
                        known[item["metadata"]["uid"]] = item
                        on_change("MODIFIED", item)
