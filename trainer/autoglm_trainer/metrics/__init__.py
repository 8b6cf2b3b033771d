"""Metrics, and how sure one can be of them."""

from __future__ import annotations

from .arrays import Floats, Ints
from .latency import latency_p95_ms
from .resampling import bootstrap, interval

__all__ = ["Floats", "Ints", "bootstrap", "interval", "latency_p95_ms"]
