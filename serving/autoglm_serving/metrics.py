"""What Prometheus sees of one server. Labels come from fixed sets: nothing from a request becomes a series."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServerMetrics:
    """The series, on a registry of their own."""

    def __init__(self, *, task: str, digest: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "autoglm_serving_requests",
            "Prediction requests answered, by HTTP status.",
            ["code"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "autoglm_serving_request_duration_seconds",
            "From a prediction request's first byte to its answer, refused ones too.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.items = Counter("autoglm_serving_items", "Items predicted.", registry=self.registry)
        self.in_flight = Gauge(
            "autoglm_serving_in_flight_requests", "Prediction requests being answered now.", registry=self.registry
        )
        self.draining = Gauge(
            "autoglm_serving_draining", "1 from SIGTERM until the process ends.", registry=self.registry
        )
        info = Gauge("autoglm_serving_model_info", "Always 1.", ["task", "digest"], registry=self.registry)
        info.labels(task=task, digest=digest).set(1)
