"""Prometheus metrics: names begin with ``gateway_``, label values come from configuration, never from callers.

Processes of one machine share their counters through the directory ``PROMETHEUS_MULTIPROC_DIR``
(set by the supervisor); ``render`` sums them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.models.llm_models import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

#: Tasks by status, waiting steps by queue, webhooks by state; read when scraped.
Counts = Callable[[], dict[str, dict[str, int]]]


class _CallSeries:
    """The series that a call of some labels counts in."""

    __slots__ = ("calls", "cost", "seconds", "tokens")

    def __init__(self, calls: Counter, seconds: Histogram, cost: Counter) -> None:
        self.calls = calls
        self.seconds = seconds
        self.cost = cost
        self.tokens: dict[str, Counter] = {}


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
        #: The series by their labels: looking them up by name costs more than counting.
        self._of_request: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._of_call: dict[tuple[str, str, str, str], _CallSeries] = {}
        self._alerts = Counter("gateway_budget_alerts", "Budgets that passed a share", ["scope"], registry=registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route`` is the template, such as ``/tasks/{task_id}``."""
        found = self._of_request.get((method, route, status))
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._latency.labels(route)
            self._of_request[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def model_call(
        self, kind: str, model: str, provider: str, outcome: str, micros: int, cost_usd: float, usage: Usage | None
    ) -> None:
        """A model call ended."""
        found = self._of_call.get((kind, model, provider, outcome))
        if found is None:
            found = self._of_call[kind, model, provider, outcome] = _CallSeries(
                self._calls.labels(kind, model, provider, outcome),
                self._model_latency.labels(kind, model),
                self._cost.labels(model, provider),
            )
        found.calls.inc()
        found.seconds.observe(micros / 1e6)
        found.cost.inc(cost_usd)
        if usage is not None:
            for name, count in (
                ("input", usage.input_tokens),
                ("output", usage.output_tokens),
                ("cached", usage.cached_tokens),
                ("reasoning", usage.reasoning_tokens),
            ):
                if count > 0:
                    series = found.tokens.get(name)
                    if series is None:
                        series = found.tokens[name] = self._tokens.labels(model, provider, name)
                    series.inc(count)

    def budget_alert(self, scope: str) -> None:
        """A budget passed a share of its limit."""
        self._alerts.labels(scope).inc()

    def render(self, counts: Counts) -> bytes:
        """The page that Prometheus scrapes. Blocks on the database."""
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
