"""Metrics of the server, in the form that Prometheus reads."""

from __future__ import annotations

from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server.

    Attributes:
        requests: counters of answered requests, called with a route and a status.
        seconds: histograms of the durations of requests, called with a route.
        batches: histograms of the sizes of the batches that the model encoded, called with a kind of input.
        inputs: counters of encoded inputs, called with their kind.
        queue: inputs in progress.
        refused: requests that were refused because the queue was full.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        on: dict[str, Any] = {"registry": self._registry}
        requests = Counter("clip_requests_total", "Answered requests.", ["route", "status"], **on)
        seconds = Histogram("clip_request_seconds", "Durations of requests.", ["route"], buckets=_SECONDS, **on)
        batches = Histogram("clip_batch_size", "Inputs in a batch.", ["kind"], buckets=_SIZES, **on)
        inputs = Counter("clip_inputs_total", "Encoded inputs.", ["kind"], **on)
        # Looking up a child by its labels takes longer than counting.
        self.requests = cache(requests.labels)
        self.seconds = cache(seconds.labels)
        self.batches = cache(batches.labels)
        self.inputs = cache(inputs.labels)
        self.queue = Gauge("clip_inputs_in_progress", "Inputs in progress.", **on)
        self.refused = Counter("clip_refused_total", "Requests refused because the queue was full.", **on)

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self._registry)
