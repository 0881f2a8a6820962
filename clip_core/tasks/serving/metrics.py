"""Metrics of the server, in the form that Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server.

    Attributes:
        requests: answered requests, by route and status.
        seconds: durations of requests, by route.
        batches: sizes of the batches that the model encoded, by kind of input.
        inputs: encoded inputs, by kind.
        queue: inputs in progress.
        refused: requests that were refused because the queue was full.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        on: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("clip_requests_total", "Answered requests.", ["route", "status"], **on)
        self.seconds = Histogram("clip_request_seconds", "Durations of requests.", ["route"], buckets=_SECONDS, **on)
        self.batches = Histogram("clip_batch_size", "Inputs in a batch.", ["kind"], buckets=_SIZES, **on)
        self.inputs = Counter("clip_inputs_total", "Encoded inputs.", ["kind"], **on)
        self.queue = Gauge("clip_inputs_in_progress", "Inputs in progress.", **on)
        self.refused = Counter("clip_refused_total", "Requests refused because the queue was full.", **on)

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self._registry)
