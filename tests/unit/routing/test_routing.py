"""Which deployment answers, what follows a failure, and when a deployment rests."""

from __future__ import annotations

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
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.registry.catalogue import ModelSpec
from gateway.routing.health import FAILURES, OPEN_SECONDS, Health
from gateway.routing.retry import LONGEST_PAUSE, MOST_ATTEMPTS, judge
from gateway.routing.router import plan

MODELS = {
    "a": ModelSpec("a", "llm", "p", fallbacks=("b", "c", "b")),
    "b": ModelSpec("b", "llm", "p", fallbacks=("d",)),
    "c": ModelSpec("c", "llm", "p"),
    "d": ModelSpec("d", "llm", "p"),
}


def test_the_model_first_then_its_own_fallbacks() -> None:
    found = plan("a", MODELS, lambda _: True, lambda _: True)
    assert found.models == ("a", "b", "c")
    assert found.reasons[0] == "a: asked for"
    assert "fallback of a" in found.reasons[1]


def test_a_fallback_that_the_key_may_not_use_is_none() -> None:
    assert plan("a", MODELS, lambda name: name != "b", lambda _: True).models == ("a", "c")


def test_the_unhealthy_go_last_but_are_not_lost() -> None:
    found = plan("a", MODELS, lambda _: True, lambda name: name != "a")
    assert found.models == ("b", "c", "a")
    assert "failed" in found.reasons[-1]


@pytest.mark.parametrize(
    ("error", "first", "second", "counts"),
    [
        (UpstreamRateLimited("x", retry_after=1.0), "again", "next", False),
        (UpstreamRateLimited("x", retry_after=LONGEST_PAUSE + 1), "next", "next", True),
        (UpstreamOverloaded("x"), "again", "next", True),
        (UpstreamError("x"), "again", "next", True),
        (UpstreamUnavailable("x", reached=False), "again", "next", True),
        (UpstreamUnavailable("x", reached=True), "again", "next", True),
        (UpstreamTimeout("x"), "next", "next", True),
        (StreamIncomplete("x"), "next", "next", True),
        (UpstreamRejected("x"), "stop", "stop", False),
        (UpstreamAccountRefused("x"), "next", "next", False),
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
    health.failed("a")
    assert not health.is_healthy("a"), "the probe failed: it rests again"
    clock.pass_seconds(OPEN_SECONDS + 1)
    health.succeeded("a")
    assert health.failures() == {}
