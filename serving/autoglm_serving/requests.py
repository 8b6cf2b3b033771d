"""From a request's bytes to its items, or to a sentence that says what was wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pydantic_core
from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from autoglm_api.predict import MAX_CHARACTERS, MAX_ITEMS, PredictRequest

BODY_SECONDS = 30
# A client that is told of a too large body while it still sends would see a broken pipe instead of the answer.
_DISCARD_FACTOR = 8


class Refused(Exception):  # noqa: N818  a refusal is the client's error, not ours
    """A 4xx or 503 answer: `code` is one word for machines, the text a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The body, never holding more than `limit_bytes` of it.

    Raises:
        Refused: 415 not JSON, 413 too large, 408 too slow, 400 broken off.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused(
            415, "UnsupportedMediaType", f"send application/json, got {media_type[:100] or 'no content type'}"
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "UnsupportedMediaType", "send the body without a content encoding")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit_bytes:
                    chunks.clear()
                    if size > limit_bytes * _DISCARD_FACTOR:
                        break
                else:
                    chunks.append(chunk)
    except TimeoutError as error:
        raise Refused(408, "RequestTimeout", f"the body did not arrive within {BODY_SECONDS} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "BadRequest", "the body broke off") from error
    if size > limit_bytes:
        raise Refused(413, "BodyTooLarge", f"the body is larger than {limit_bytes} bytes; send fewer items at a time")
    return b"".join(chunks)


def parse(body: bytes, *, model_name: str, task: str, parse_item: Callable[[object, str], Any]) -> list[Any]:
    """Check the request; the answer is its items as `parse_item` gives them.

    Raises:
        Refused: 400 not JSON, 404 another model, 422 anything else.
    """
    try:
        document = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refused(400, "BadJson", f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused(422, "BadRequest", f"the body must be an object with data, got {kind_of(document)}")
    found = [parse_item(item, where) for where, item in _items(document)]
    try:
        asked = PredictRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = str(first["loc"][0])[:100]
        raise Refused(422, "BadRequest", f"{field}: {first['msg']}") from error
    if asked.model_name is not None and asked.model_name != model_name:
        raise Refused(404, "ModelNotFound", f"model_name: this server answers {model_name!r}, not {asked.model_name!r}")
    if asked.task_type is not None and asked.task_type != task:
        raise Refused(422, "WrongTask", f"task_type: the model's task is {task!r}, not {asked.task_type!r}")
    return found


def _items(document: dict[str, object]) -> list[tuple[str, object]]:
    """`data` item by item, each with its place."""
    if "data" not in document:
        raise Refused(422, "NoData", "data is missing; send one item or a list of items")
    data = document["data"]
    if not isinstance(data, list):
        return [("data", data)]
    if not data:
        raise Refused(422, "NoData", "data is an empty list; send at least one item")
    if len(data) > MAX_ITEMS:
        raise Refused(422, "TooManyItems", f"data has {len(data)} items; at most {MAX_ITEMS} at a time")
    return [(f"data[{index}]", item) for index, item in enumerate(data)]


def check_text(text: object, where: str) -> str:
    """`text`, if it is one that can be answered.

    Raises:
        Refused: 422.
    """
    if not isinstance(text, str):
        raise Refused(422, "NotText", f"{where} must be a text, got {kind_of(text)}")
    if not text.strip():
        raise Refused(422, "NoData", f"{where} is empty")
    if len(text) > MAX_CHARACTERS:
        raise Refused(422, "TextTooLong", f"{where} has {len(text)} characters; at most {MAX_CHARACTERS}")
    if "\0" in text:
        raise Refused(422, "NotText", f"{where} has a NUL character; send text, not binary data")
    return text


def kind_of(value: object) -> str:
    """What JSON calls it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
