"""Prometheus metrics: names begin with ``gateway_``, label values come from configuration, never from callers.

Processes of one machine share their counters through the directory ``PROMETHEUS_MULTIPROC_DIR``
(set by the supervisor); ``render`` sums them. What a process counts gets there within a second, and before
it ends. A worker or orchestrator that runs alone has a page of its own (``open_door``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.errors import ConfigurationInvalid
from gateway.models.llm_models import Usage
from gateway.telemetry.sums import CallSums, TimedSums

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: How old what is shared with other processes may be.
_FOLD_SECONDS = 1.0
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

#: Tasks by status, waiting steps by queue, webhooks by state; read when scraped.
Counts = Callable[[], dict[str, dict[str, int]]]


class Metrics:
    """The metrics of one process; one instance."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        self._version = version
        registry = self._registry
        self._requests = Counter("gateway_requests", "HTTP requests", ["method", "route", "status"], registry=registry)
        self._latency = Histogram(
            "gateway_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self._calls = Counter(
            "gateway_model_calls", "Model calls by outcome", ["kind", "model", "provider", "outcome"], registry=registry
        )
        self._model_latency = Histogram(
            "gateway_model_seconds", "Time a model took", ["kind", "model"], buckets=_SECONDS, registry=registry
        )
        self._tokens = Counter("gateway_tokens", "Tokens by class", ["model", "provider", "class"], registry=registry)
        self._cost = Counter("gateway_cost_usd", "Cost in USD", ["model", "provider"], registry=registry)
        #: What was counted since it was last folded into the series, by their labels.
        self._of_request: dict[tuple[str, str, int], TimedSums] = {}
        self._of_call: dict[tuple[str, str, str, str], CallSums] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._alerts = Counter("gateway_budget_alerts", "Budgets that passed a share", ["scope"], registry=registry)
        self._anomalies = Counter(
            "gateway_spend_anomalies", "Hours whose spending was far above the usual", ["scope"], registry=registry
        )

    def spend_anomaly(self, scope: str) -> None:
        """An hour's spending is far above the usual."""
        self._anomalies.labels(scope).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route`` is the template, such as ``/tasks/{task_id}``."""
        with self._lock:
            sums = self._of_request.get((method, route, status))
            if sums is None:
                counter, histogram = self._requests.labels(method, route, str(status)), self._latency.labels(route)
                sums = self._of_request[method, route, status] = TimedSums(counter, histogram, _SECONDS)
            sums.add(seconds)
        if self._timer is None:
            self._fold_soon()

    def model_call(
        self, kind: str, model: str, provider: str, outcome: str, micros: int, cost_usd: float, usage: Usage | None
    ) -> None:
        """A model call ended."""
        with self._lock:
            sums = self._of_call.get((kind, model, provider, outcome))
            if sums is None:
                sums = self._of_call[kind, model, provider, outcome] = CallSums(
                    self._calls.labels(kind, model, provider, outcome),
                    self._model_latency.labels(kind, model),
                    _SECONDS,
                    self._cost.labels(model, provider),
                    lambda name: self._tokens.labels(model, provider, name),
                )
            sums.add_call(micros / 1e6, cost_usd, usage)
        if self._timer is None:
            self._fold_soon()

    def fold(self) -> None:
        """Brings Prometheus' series, which processes share, up to what this one has counted."""
        with self._lock:
            self._timer = None
            for requests in self._of_request.values():
                requests.fold()
            for calls in self._of_call.values():
                calls.fold()

    def _fold_soon(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(_FOLD_SECONDS, self.fold)
                self._timer.daemon = True
                self._timer.start()

    def budget_alert(self, scope: str) -> None:
        """A budget passed a share of its limit."""
        self._alerts.labels(scope).inc()

    def open_door(self, host: str, port: int) -> None:
        """Lets Prometheus ask this process alone, on a port of its own, by a daemon thread until the process ends."""
        try:
            start_http_server(port, host, self._registry)
        except OSError as error:
            raise ConfigurationInvalid(
                f"cannot listen on {host}:{port} for Prometheus: {error.strerror}",
                mend="give another port by GATEWAY_METRICS_PORT; each process of a machine needs its own",
            ) from None

    def render(self, counts: Counts) -> bytes:
        """The page that Prometheus scrapes. Blocks on the database."""
        self.fold()
        registry = self._registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        own = CollectorRegistry()
        own.register(_Gauges(counts, self._version))
        return generate_latest(registry) + generate_latest(own)


class _Gauges(Collector):
    def __init__(self, counts: Counts, version: str) -> None:
        self._counts = counts
        self._version = version

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("gateway_build_info", "The running version", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        counts = self._counts()
        tasks = GaugeMetricFamily("gateway_tasks", "Tasks by status", labels=["status"])
        for status, number in counts["tasks"].items():
            tasks.add_metric([status], number)
        yield tasks
        depth = GaugeMetricFamily("gateway_queue_depth", "Steps that wait for a worker", labels=["queue"])
        for queue, number in counts["queue_depth"].items():
            depth.add_metric([queue], number)
        yield depth
        hooks = GaugeMetricFamily("gateway_webhook_deliveries", "Webhooks that wait or are dead", labels=["state"])
        for state, number in counts.get("webhooks", {}).items():
            hooks.add_metric([state], number)
        yield hooks
