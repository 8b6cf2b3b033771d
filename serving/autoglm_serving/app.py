"""The HTTP face of one model. Requests are parsed and predicted in a few threads, so that probes always answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from autoglm_api.manifest import Manifest
from autoglm_api.predict import MAX_ITEMS, PredictRequest, PredictResponse

from .answerer import Answerer
from .metrics import ServerMetrics
from .requests import Refused, parse, read_body

MAX_BODY_BYTES = 4 * 1024 * 1024
# Each waits with its body in memory; beyond this a client is better told to come again.
MAX_IN_FLIGHT = 64

_log = logging.getLogger(__name__)


@dataclass
class Traffic:
    """What the server's life cycle and its routes tell each other."""

    draining: bool = False
    in_flight: int = 0


@dataclass(frozen=True)
class Service:
    """One model behind HTTP, under a name."""

    name: str
    manifest: Manifest
    digest: str
    answerer: Answerer
    metrics: ServerMetrics
    executor: ThreadPoolExecutor
    traffic: Traffic
    max_body_bytes: int = MAX_BODY_BYTES

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One request in flight.

        Raises:
            Refused: 503, there are too many.
        """
        if self.traffic.in_flight >= MAX_IN_FLIGHT:
            raise Refused(503, "Overloaded", f"{MAX_IN_FLIGHT} requests are waiting already; try again in a second")
        self.traffic.in_flight += 1
        self.metrics.in_flight.set(self.traffic.in_flight)
        try:
            yield
        finally:
            self.traffic.in_flight -= 1
            self.metrics.in_flight.set(self.traffic.in_flight)

    async def predict(self, request: Request) -> PredictResponse:
        """Answer one request; raises `Refused`."""
        with self.counted():
            body = await read_body(request, self.max_body_bytes)
            loop = asyncio.get_running_loop()
            predictions = await loop.run_in_executor(self.executor, self._work, body)
        self.metrics.items.inc(len(predictions.predictions))
        return predictions

    def _work(self, body: bytes) -> PredictResponse:
        """Everything that takes CPU time, off the event loop."""
        task = self.manifest.task
        items = parse(body, model_name=self.name, task=task, parse_item=self.answerer.parse)
        predictions = self.answerer.predict(items)
        return PredictResponse(model_name=self.name, task_type=task, digest=self.digest, predictions=predictions)


def create_app(service: Service) -> FastAPI:
    """The ASGI application of one service."""
    app = FastAPI(title="AutoGLM model server", docs_url=None, redoc_url=None)
    _add_predict(app, service)
    _add_probes(app, service)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _broken)
    return app


def _add_predict(app: FastAPI, service: Service) -> None:
    # The body is read by hand, to stop at its limit; the schema tells clients what the framework would have.
    @app.post("/v1/predict", openapi_extra=_described(service.answerer))
    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            answer = await service.predict(request)
            response: Response = Response(answer.model_dump_json(), media_type="application/json")
            status = response.status_code
        except Refused as refusal:
            status = refusal.status
            response = _error(status, refusal.code, refusal.message)
        finally:
            service.metrics.requests.labels(code=str(status)).inc()
            service.metrics.duration.observe(time.perf_counter() - started)
        if service.traffic.draining or status in (408, 413):
            # A kept connection would come back to a server that is going away, or still carry the body's rest.
            response.headers["connection"] = "close"
        return response

    @app.get("/v1/model")
    async def model() -> dict[str, object]:
        manifest = service.manifest
        return {
            "model_name": service.name,
            "task_type": manifest.task,
            "digest": service.digest,
            "labels": manifest.labels,
            "max_length": manifest.max_length,
            "metric": manifest.metric,
            "direction": manifest.direction,
            "validation": manifest.validation,
            "test": manifest.test,
            "created": manifest.created.isoformat(),
            "provenance": manifest.provenance.model_dump(),
        }


def _described(answerer: Answerer) -> dict[str, object]:
    """Request and answer of `/v1/predict` with this task's items."""
    asked, answered = PredictRequest.model_json_schema(), PredictResponse.model_json_schema()
    many = {"type": "array", "items": answerer.item, "minItems": 1, "maxItems": MAX_ITEMS}
    asked["properties"]["data"] = {"title": "Data", "anyOf": [answerer.item, many]}
    answered["properties"]["predictions"] |= {"items": answerer.answer}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {"200": {"description": "Predictions", "content": {"application/json": {"schema": answered}}}},
    }


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        if service.traffic.draining:
            return _error(503, "Draining", "the server is shutting down")
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _error(status: int, code: str, message: str) -> JSONResponse:
    headers = {"retry-after": "1"} if status == 503 else None
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
    known = "POST /v1/predict, GET /v1/model, /healthz, /readyz, /metrics"
    response = _error(error.status_code, code, f"{request.method} is not answered at this path; known: {known}")
    response.headers.update(error.headers or {})
    return response


async def _broken(_request: Request, error: Exception) -> Response:
    _log.error("a prediction failed", exc_info=error)
    return _error(500, "Internal", "the model failed on this request; the server's log says why")
