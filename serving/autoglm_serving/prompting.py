"""Who answers a whole prompt: the model of this server, or an endpoint that requests are forwarded to."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from autoglm_api import chat
from autoglm_api import environment as env
from autoglm_api.chat import Verdict
from autoglm_api.locations import read_credentials
from autoglm_api.prompting import Decoding
from autoglm_api.study import ModelEndpoint

from .errors import UnusableModelError
from .requests import Refused

_log = logging.getLogger(__name__)
# One line a request, which says nothing but the address.
logging.getLogger("httpx").setLevel(logging.WARNING)

# A client waits for this: two tries, and no long pause between them.
TRIES = 2
LONGEST_PAUSE_SECONDS = 2.0
_TIMEOUT = httpx.Timeout(connect=5.0, read=60.0, write=10.0, pool=None)
SECRET = "model"  # noqa: S105 - the folder's name, no secret


@dataclass(frozen=True)
class Answered:
    """An answer; what nobody counted is None."""

    text: str
    prompt_tokens: int | None
    tokens: int | None
    finished: bool


class Questioned(Protocol):
    """Whoever answers."""

    def fits(self, prompt: str) -> bool:
        """Whether prompt and answer find room."""

    def answer(self, prompts: Sequence[str], decoding: Decoding, labels: Sequence[str]) -> list[Answered]:
        """One answer a prompt, in order.

        Raises:
            UnusableModelError: it fails, and will again.
            Refused: it does not answer now, or not to this prompt.
        """


class Forwarder:
    """An endpoint, with the key of the mounted Secret or of the environment."""

    def __init__(self, endpoint: ModelEndpoint) -> None:
        """Read the key.

        Raises:
            UnusableModelError: no request can carry it.
        """
        secrets = Path(os.environ.get(env.SECRETS_ROOT, env.DEFAULT_SECRETS_ROOT)) / SECRET
        try:
            self._key = chat.find_key(read_credentials(secrets), os.environ)
        except ValueError as error:
            raise UnusableModelError(f"{endpoint.url}: {error}") from error
        self._endpoint = endpoint
        self._threads = ThreadPoolExecutor(endpoint.concurrency, thread_name_prefix="forward")
        # An answer that sends elsewhere is refused: the key is for this host.
        self._client = httpx.Client(headers=chat.headers(self._key), timeout=_TIMEOUT, follow_redirects=False)

    def fits(self, prompt: str) -> bool:  # noqa: ARG002 - the endpoint says so itself
        """It is tried."""
        return True

    def answer(self, prompts: Sequence[str], decoding: Decoding, labels: Sequence[str]) -> list[Answered]:  # noqa: ARG002
        """All at once, as far as the endpoint's `concurrency` goes."""
        return list(self._threads.map(lambda prompt: self._ask(prompt, decoding), prompts))

    def _ask(self, prompt: str, decoding: Decoding) -> Answered:
        body, url = chat.request(self._endpoint, prompt, decoding), chat.address(self._endpoint)
        for tries in range(1, TRIES + 1):
            wanted = None
            try:
                answer = self._client.post(url, content=body)
            except httpx.RequestError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                verdict, trouble = chat.judge(answer.status_code, answer.content), f"status {answer.status_code}"
                if verdict == Verdict.ANSWERED:
                    try:
                        said = chat.read(answer.content, self._key)
                        return Answered(said.text, said.prompt_tokens, said.tokens, said.finished)
                    except ValueError as error:
                        trouble = str(error)
                elif verdict != Verdict.AGAIN:
                    raise self._ended(verdict, answer)
                wanted = answer.headers.get("retry-after")
            pause = chat.wait_seconds(wanted, tries)
            if tries == TRIES or pause > LONGEST_PAUSE_SECONDS:
                break
            time.sleep(pause)
        _log.warning("%s does not answer: %s", self._endpoint.url, trouble)
        raise Refused(503, "EndpointUnavailable", "the endpoint that answers for this model does not answer now")

    def _ended(self, verdict: Verdict, answer: httpx.Response) -> Exception:
        """What a client or the log is told where trying again is no use."""
        told = f"{self._endpoint.url}, model {self._endpoint.model!r}, answers {answer.status_code}"
        if verdict == Verdict.REFUSED:
            _log.warning("%s: %s", told, chat.shown(answer.content, self._key))
            return Refused(422, "PromptRefused", "the endpoint that answers for this model refuses this prompt")
        remedy = (
            f"give a valid {chat.API_KEY} in the Secret of modelSecretRef, or {chat.API_KEY_VARIABLE} as a variable"
            if verdict == Verdict.DENIED
            else "there is no such model any more"
        )
        return UnusableModelError(f"{told}: {remedy}")
