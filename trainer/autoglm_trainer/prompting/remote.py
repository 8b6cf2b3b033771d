"""A model behind an endpoint as a respondent: several requests at once, and patience with what passes."""

# ruff: noqa: ARG002 - the protocol names its arguments

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import httpx

from autoglm_api import chat
from autoglm_api.chat import Verdict
from autoglm_api.prompting import Decoding
from autoglm_api.study import ModelEndpoint
from autoglm_trainer.errors import EndpointUnreachable, SpecError

from .respondent import Response

logger = logging.getLogger(__name__)
# One line a request, which says nothing but the address.
logging.getLogger("httpx").setLevel(logging.WARNING)

TRIES = 8
PATIENCE_SECONDS = 600.0
_TIMEOUT = httpx.Timeout(connect=10.0, read=120.0, write=30.0, pool=None)
_HEARTBEAT_SECONDS = 1.0


@dataclass
class Endpoint:
    """Meets `Respondent`.

    Attributes:
        endpoint: where, which model, how many requests at once.
        key: its API key; never shown.
        tries: how often one request is sent, before the endpoint counts as away.
        patience_seconds: for how long, waiting included.
    """

    endpoint: ModelEndpoint
    key: str | None
    tries: int = TRIES
    patience_seconds: float = PATIENCE_SECONDS
    times_itself: bool = True
    max_tokens: int = 0
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=self.endpoint.concurrency)
        # An answer that sends elsewhere is refused: the key is for this host.
        self._client = httpx.Client(
            headers=chat.headers(self.key), timeout=_TIMEOUT, limits=limits, follow_redirects=False
        )

    @property
    def together(self) -> int:
        """A few for each connection, so that a slow answer holds up little."""
        return 4 * self.endpoint.concurrency

    def answer_tokens(self, answers: Sequence[str]) -> int:
        """A token is a character at least, for nearly all tokenizers and texts."""
        return 8 + max(map(len, answers))

    def fits(self, prompt: str, max_new_tokens: int) -> bool:
        """The endpoint says so itself."""
        return True

    def probe(self, *, counts: bool) -> None:
        """Ask for one token, so that a wrong key or address ends the study before it begins.

        Args:
            counts: whether the study judges by the number of tokens, which only the endpoint knows.

        Raises:
            SpecError: there is no such number, or as `answer`.
            EndpointUnreachable: as `answer`.
        """
        response = self._ask("Hello", Decoding(max_new_tokens=1), threading.Event())
        if response.refused is not None:
            raise SpecError(f"model.endpoint {self.endpoint.url} refuses a plain request: {response.refused}")
        if counts and not math.isfinite(response.prompt_tokens):
            raise SpecError(
                f"model.endpoint {self.endpoint.url} does not say how many tokens it reads (usage.prompt_tokens); leave"
                " prompt_tokens out of objectives and constraints"
            )

    def answer(
        self, prompts: Sequence[str], decoding: Decoding, *, labels: Sequence[str], heartbeat: Callable[[], None]
    ) -> list[Response]:
        """`concurrency` at a time."""
        stop = threading.Event()
        with ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="ask") as threads:
            try:
                asked = [threads.submit(self._ask, prompt, decoding, stop) for prompt in prompts]
                waiting = set(asked)
                while waiting:
                    done, waiting = wait(waiting, timeout=_HEARTBEAT_SECONDS, return_when=FIRST_EXCEPTION)
                    for one in done:
                        one.result()
                    heartbeat()
            finally:
                stop.set()
                threads.shutdown(wait=False, cancel_futures=True)
        return [one.result() for one in asked]

    def _ask(self, prompt: str, decoding: Decoding, stop: threading.Event) -> Response:
        body = chat.request(self.endpoint, prompt, decoding)
        began = time.monotonic()
        for tries in range(1, self.tries + 1):
            started = time.perf_counter()
            trouble, wanted = "", None
            try:
                answer = self._client.post(chat.address(self.endpoint), content=body)
            except httpx.RequestError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                verdict = chat.judge(answer.status_code, answer.content)
                if verdict == Verdict.ANSWERED:
                    try:
                        return _response(chat.read(answer.content, self.key), time.perf_counter() - started)
                    except ValueError as error:
                        trouble = str(error)
                else:
                    trouble, wanted = self._explained(answer, verdict), answer.headers.get("retry-after")
                    if verdict == Verdict.REFUSED:
                        return Response("", float("nan"), time.perf_counter() - started, trouble)
            pause = chat.wait_seconds(wanted, tries)
            if tries == self.tries or time.monotonic() - began + pause > self.patience_seconds or stop.is_set():
                raise EndpointUnreachable(
                    f"model.endpoint {self.endpoint.url} does not answer, after {tries} tries: {trouble}"
                )
            logger.info("%s: %s, again in %.1f s", self.endpoint.url, trouble, pause)
            stop.wait(pause)
        raise AssertionError("the last try raises")

    def _explained(self, answer: httpx.Response, verdict: Verdict) -> str:
        """What the endpoint said.

        Raises:
            SpecError: it would say so to every request.
        """
        url, status = self.endpoint.url, answer.status_code
        said = chat.shown(answer.content, self.key)
        match verdict:
            case Verdict.DENIED:
                held = f"the key {chat.API_KEY} in model.secretRef" if self.key else "a request without a key"
                remedy = f"give a Secret with a valid {chat.API_KEY} whose account has quota in model.secretRef"
                raise SpecError(f"model.endpoint {url} refuses {held} ({status}); {remedy}")
            case Verdict.UNKNOWN:
                raise SpecError(
                    f"model.endpoint {url}: nothing answers for model {self.endpoint.model!r} at"
                    f" {chat.address(self.endpoint)} ({status}: {said}); check the address, with its version, and the"
                    " model's name"
                )
            case _:
                return f"{status}: {said}"


def _response(said: chat.Said, seconds: float) -> Response:
    return Response(said.text, float("nan") if said.prompt_tokens is None else float(said.prompt_tokens), seconds)
