"""OpenAI's chat interface, as far as a prompt and its answer need it. Bytes in, bytes out; who sends is elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from .prompting.decoding import Decoding
from .study import ModelEndpoint

API_KEY = "API_KEY"
"""The key of the Secret that holds the endpoint's."""
API_KEY_VARIABLE = "OPENAI_API_KEY"
"""The same where there are no Secrets: what every client of the interface reads."""
LONGEST_WAIT_SECONDS = 120.0
_SHOWN = 300
_NO_QUOTA = "insufficient_quota"


class Verdict(Enum):
    """What an answer's status means for the one who asked."""

    ANSWERED = "answered"
    AGAIN = "again"  # overloaded, broken, or too many requests: the same request may succeed later
    DENIED = "denied"  # the key, or the account behind it: no request will succeed
    UNKNOWN = "unknown"  # no such model, or nothing speaks this interface here
    REFUSED = "refused"  # this request alone


@dataclass(frozen=True)
class Said:
    """An answer. Tokens are None where the endpoint does not count them."""

    text: str
    prompt_tokens: int | None
    tokens: int | None
    finished: bool


def address(endpoint: ModelEndpoint) -> str:
    """Where requests go."""
    return f"{endpoint.url.rstrip('/')}/chat/completions"


def find_key(secret: Mapping[str, str], environ: Mapping[str, str]) -> str | None:
    """The endpoint's key: of the Secret, else of the environment; None where nobody names one.

    What a header may hold: RFC 9110, 5.5.

    Raises:
        ValueError: no request can carry it; the message shows nothing of it.
    """
    key = (secret.get(API_KEY) or environ.get(API_KEY_VARIABLE) or "").strip()
    if not all("!" <= character <= "~" for character in key):
        name = API_KEY if secret.get(API_KEY) else API_KEY_VARIABLE
        raise ValueError(
            f"the key in {name} has blanks or signs that no request can carry; copy it again, without quotation"
            " marks or line ends"
        )
    return key or None


def headers(key: str | None) -> dict[str, str]:
    """Of every request."""
    return {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}


def request(endpoint: ModelEndpoint, prompt: str, decoding: Decoding) -> bytes:
    """The body. What says nothing is left out: some endpoints refuse fields that they do not know."""
    drawn = decoding.kind == "sample"
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature if drawn else 0,
    }
    if drawn:
        body["seed"] = decoding.seed_of(prompt)
        body["top_p"] = decoding.top_p
    if drawn and decoding.top_k:
        body["top_k"] = decoding.top_k
    if decoding.repetition_penalty != 1:
        body["repetition_penalty"] = decoding.repetition_penalty
    return json.dumps(body, ensure_ascii=False).encode()


def judge(status: int, payload: bytes) -> Verdict:
    """What to do about an answer."""
    if status == 200:
        return Verdict.ANSWERED
    if status in (401, 403) or (status == 429 and _NO_QUOTA in payload.decode(errors="replace")):
        return Verdict.DENIED
    if status in (404, 405) or 300 <= status < 400:
        return Verdict.UNKNOWN
    return Verdict.REFUSED if 400 <= status < 500 and status not in (408, 409, 425, 429) else Verdict.AGAIN


def read(payload: bytes, key: str | None = None) -> Said:
    """The answer in a body with status 200; `key` is not shown where there is none.

    Raises:
        ValueError: it is none.
    """
    try:
        body = json.loads(payload)
        choice = body["choices"][0]
        text = choice["message"]["content"]
        usage = body.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the answer is not one of a chat interface: {shown(payload, key)}") from error
    if not (text is None or isinstance(text, str)):
        raise ValueError(f"the answer's content is no text: {shown(payload, key)}")
    prompt_tokens, tokens = (count if isinstance(count, int) else None for count in counts)
    return Said((text or "").strip(), prompt_tokens, tokens, choice.get("finish_reason") != "length")


def shown(payload: bytes, key: str | None = None) -> str:
    """The endpoint's own words for what was wrong, cut short, without the key."""
    text = payload.decode(errors="replace")
    try:
        error = json.loads(text)["error"]
        text = error["message"] if isinstance(error, Mapping) else str(error)
    except (ValueError, KeyError, TypeError):
        pass
    text = " ".join(text.split())
    # Before it is cut: half a key is no longer found, and too much said.
    return (text.replace(key, "…") if key else text)[:_SHOWN]


def wait_seconds(retry_after: str | None, tries: int, now: datetime | None = None) -> float:
    """How long to wait before the next try: what the endpoint asks for, else twice as long as the last time.

    Args:
        retry_after: the header `Retry-After`, seconds or a date (RFC 9110, 10.2.3).
        tries: how often it was tried, from 1.
        now: the time, for a date.
    """
    asked: float | None = None
    if retry_after:
        try:
            asked = float(retry_after)
        except ValueError:
            try:
                asked = (parsedate_to_datetime(retry_after) - (now or datetime.now(UTC))).total_seconds()
            except (ValueError, TypeError):
                asked = None
    usual = min(0.5 * 2 ** (tries - 1), 30.0)
    return min(max(asked, 0.0) if asked is not None else usual, LONGEST_WAIT_SECONDS)
