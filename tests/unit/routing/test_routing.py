"""Which deployment answers, what follows a failure, and when a deployment rests."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.money_kit import ManualClock
from gateway.errors import (
    BudgetExceeded,
    ContextTooLong,
    GatewayError,
    ProviderNotConfigured,
    StreamIncomplete,
    UpstreamAccountRefused,
    UpstreamError,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.models.route import Deployment, Route, Strategy
from gateway.registry.catalogue import ModelSpec
from gateway.routing.health import FAILURES, OPEN_SECONDS, Health
from gateway.routing.retry import LONGEST_PAUSE, MOST_ATTEMPTS, judge, wait_before
from gateway.routing.router import Ask, plan

MODELS = {
    "a": ModelSpec("a", "llm", "p", fallbacks=("b", "c", "b")),
    "b": ModelSpec("b", "llm", "p", fallbacks=("d",)),
    "c": ModelSpec("c", "llm", "p"),
    "d": ModelSpec("d", "llm", "p"),
}


class Known:
    """Conditions as a test lays them out."""

    def __init__(
        self,
        down: tuple[str, ...] = (),
        calls: dict[str, int] | None = None,
        seconds: dict[str, float] | None = None,
    ) -> None:
        self.down, self.calls, self.seconds = down, calls or {}, seconds or {}

    def is_healthy(self, name: str) -> bool:
        return name not in self.down

    def busy(self, name: str) -> int:
        return self.calls.get(name, 0)

    def latency(self, name: str) -> float | None:
        return self.seconds.get(name)


def routed(strategy: Strategy, **fields: Any) -> dict[str, ModelSpec]:
    deployments = (Deployment("a", 3), Deployment("b", 1), Deployment("c", 1))
    return {**MODELS, "r": ModelSpec("r", "llm", "p", fallbacks=("d",), route=Route(deployments, strategy, **fields))}


def order(models: dict[str, ModelSpec], conditions: Known | None = None, **fields: Any) -> tuple[str, ...]:
    return plan("r", models, lambda _: True, conditions or Known(), Ask(**fields)).models


def test_by_priority_then_the_fallbacks() -> None:
    assert order(routed("priority")) == ("a", "b", "c", "d")
    assert order(routed("priority"), Known(down=("a",))) == ("b", "c", "d", "a")


def test_by_weight_each_gets_its_share() -> None:
    models = routed("weighted")
    first = [order(models, draw=at / 5_000)[0] for at in range(5_000)]
    assert 0.57 < first.count("a") / 5_000 < 0.63
    assert order(models, draw=0.3) == order(models, draw=0.3), "the same draw, the same plan"


def test_by_load_and_by_latency_and_by_cost() -> None:
    busy = Known(calls={"a": 9, "b": 1, "c": 2})
    assert order(routed("least_busy"), busy)[:3] == ("b", "c", "a"), "nine calls at weight three are three"
    quick = Known(seconds={"a": 0.9, "b": 0.2, "c": 0.4})
    assert order(routed("lowest_latency"), quick, draw=0.5)[:3] == ("b", "c", "a")
    assert order(routed("lowest_latency"), Known(seconds={"a": 0.9, "b": 0.2}), draw=0.5)[0] == "c", "unmeasured first"
    explored = {order(routed("lowest_latency"), quick, draw=at / 100_000)[0] for at in range(100)}
    assert explored == {"a", "b", "c"}
    prices = {"a": 30, "b": None, "c": 20}
    assert order(routed("lowest_cost"), price=prices.get)[:3] == ("c", "a", "b"), "an unknown price is the dearest"


def test_a_session_sticks_and_only_the_lost_ones_move() -> None:
    models = routed("weighted", sticky="session")
    keys = [f"session-{at}" for at in range(400)]
    before = {key: order(models, draw=0.1, sticky_key=key)[0] for key in keys}
    assert before == {key: order(models, draw=0.9, sticky_key=key)[0] for key in keys}
    after = {key: order(models, Known(down=("a",)), sticky_key=key)[0] for key in keys}
    assert all(after[key] == before[key] for key in keys if before[key] != "a")


def test_every_step_has_its_reason() -> None:
    found = plan("r", routed("weighted"), lambda _: True, Known(down=("d",)), Ask(draw=0.2))
    assert len(found.reasons) == 4
    assert all(reason.startswith(f"{name}: ") for name, reason in zip(found.models, found.reasons, strict=True))
    assert "weight" in found.reasons[0]
    assert "failed" in found.reasons[-1]


def test_the_model_first_then_its_own_fallbacks() -> None:
    found = plan("a", MODELS, lambda _: True, Known())
    assert found.models == ("a", "b", "c")
    assert found.reasons[0] == "a: asked for"
    assert "fallback of a" in found.reasons[1]


def test_a_fallback_that_the_key_may_not_use_is_none() -> None:
    assert plan("a", MODELS, lambda name: name != "b", Known()).models == ("a", "c")


def test_the_unhealthy_go_last_but_are_not_lost() -> None:
    found = plan("a", MODELS, lambda _: True, Known(down=("a",)))
    assert found.models == ("b", "c", "a")
    assert "failed" in found.reasons[-1]


@pytest.mark.parametrize(
    ("error", "first", "second", "counts"),
    [
        (UpstreamRateLimited("x", retry_after=1.0), "again", "next", False),
        (UpstreamRateLimited("x", retry_after=LONGEST_PAUSE + 1), "next", "next", True),
        (UpstreamOverloaded("x"), "again", "next", True),
        (UpstreamError("x"), "again", "next", True),
        (UpstreamMalformed("x", reached=True), "again", "next", True),
        (UpstreamError("x", retry_after=2.0), "again", "next", True),
        (UpstreamError("x", retry_after=LONGEST_PAUSE + 1), "next", "next", True),
        (UpstreamUnavailable("x", reached=False), "again", "next", True),
        (UpstreamUnavailable("x", reached=True), "again", "next", True),
        (UpstreamTimeout("x"), "next", "next", True),
        (StreamIncomplete("x"), "next", "next", True),
        (UpstreamRejected("x"), "stop", "stop", False),
        (UpstreamAccountRefused("x"), "next", "next", True),
        (ContextTooLong("x"), "next", "next", False),
        (ProviderNotConfigured("x"), "next", "next", False),
        (BudgetExceeded("x"), "stop", "stop", False),
    ],
)
def test_what_follows_a_failure(error: GatewayError, first: str, second: str, counts: bool) -> None:
    verdict = judge(error, attempt=1, total=1, most_here=2)
    assert (verdict.what, verdict.counts) == (first, counts)
    assert judge(error, attempt=2, total=2, most_here=2).what == second
    if first == "again":
        assert verdict.pause >= (error.retry_after or 0.0)
        assert verdict.pause <= LONGEST_PAUSE
    assert judge(error, attempt=1, total=MOST_ATTEMPTS, most_here=9).what == "stop"


@pytest.mark.parametrize(
    ("error", "what"), [(UpstreamMalformed("x", reached=True), "next"), (UpstreamError("x"), "again")]
)
def test_what_is_no_answer_is_asked_of_another_deployment(error: GatewayError, what: str) -> None:
    verdict = judge(error, attempt=1, total=1, most_here=3, others=True)
    assert (verdict.what, verdict.counts) == (what, True)


def test_four_attempts_in_three_seconds_are_enough() -> None:
    assert wait_before([], 100.0) == wait_before([100.0, 100.1, 100.2], 100.2) == 0.0
    assert wait_before([100.0, 100.5, 101.0, 101.5], 101.5) == 1.5
    assert wait_before([90.0, 100.0, 100.5, 101.0, 101.5], 101.5) == 1.5
    assert wait_before([90.0, 100.0, 101.0, 102.0], 103.0) == 0.0


def test_a_breaker_opens_after_failures_in_a_row_and_lets_a_probe_through() -> None:
    clock = ManualClock()
    health = Health(clock)
    for _ in range(FAILURES - 1):
        health.failed("a")
    health.succeeded("a")
    for _ in range(FAILURES):
        assert health.is_healthy("a")
        health.failed("a")
    assert not health.is_healthy("a")
    assert health.failures() == {"a": FAILURES}
    clock.pass_seconds(OPEN_SECONDS + 1)
    assert health.is_healthy("a")
    health.entered("a")
    assert not health.is_healthy("a"), "one probe at a time"
    health.left("a")
    health.failed("a")
    assert not health.is_healthy("a"), "the probe failed: it rests again"
    clock.pass_seconds(OPEN_SECONDS + 1)
    health.succeeded("a")
    assert health.failures() == {}
