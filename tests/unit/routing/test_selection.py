"""The choice of ``auto``: what is ruled out and why, what comes first, what is learned, and when chance has a say."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.models.route import Deployment, Route, Weights
from gateway.models.selection import Selection
from gateway.registry.catalogue import ModelSpec
from gateway.routing.learning import (
    DAY,
    HOUR,
    OUTCOMES_HALVE,
    RATINGS_HALVE,
    DayOfRatings,
    HourOfOutcomes,
    Outcomes,
    Standing,
    standings,
)
from gateway.routing.retry import MOST_ATTEMPTS
from gateway.routing.router import Ask, plan
from gateway.routing.selection import EXPLORE, WINDOW_ASSUMED, Candidate, Choice, choose, expected_quality

CENT = 10**8
GOOD = Candidate("good", 0.9, frozenset({"tools", "vision"}), 100_000, 500, cost=CENT, worst=5 * CENT)
CHEAP = Candidate("cheap", 0.6, frozenset({"tools"}), 8_000, 500, cost=CENT // 100, worst=CENT // 20)
FREE = Candidate("free", 0.1, frozenset(), 2_000, 500)


def chosen(*candidates: Candidate, needs: tuple[str, ...] = (), **fields: Any) -> Choice:
    return choose(candidates or (FREE, CHEAP, GOOD), needs=frozenset(needs), **fields)


def names(choice: Choice) -> list[str]:
    return [item.name for item in choice.fitting]


def test_the_best_for_its_price_comes_first_and_all_that_fit_follow() -> None:
    assert names(chosen()) == ["good", "cheap", "free"]
    assert names(chosen(weights=Weights(cost=1.0)))[0] == "cheap"
    assert names(chosen(weights=Weights(quality=0.0)))[0] == "free"


@pytest.mark.parametrize(
    ("fields", "left", "name", "told"),
    [
        ({"needs": ("vision",)}, ["good"], "cheap", "does not declare vision"),
        ({"selection": Selection(max_cost=CENT)}, ["cheap", "free"], "good", "worst case is 0.05 USD, at most 0.01"),
        ({"selection": Selection(max_cost=0)}, ["free"], "cheap", "0.0005 USD"),
        ({"selection": Selection(min_quality=0.6)}, ["good", "cheap"], "free", "quality is 0.10, at least 0.60"),
        ({"carries": lambda name: "no such thing" if name == "good" else ""}, ["cheap", "free"], "good", "no such"),
    ],
)
def test_what_cannot_serve_is_ruled_out_with_its_reason(
    fields: dict[str, Any], left: list[str], name: str, told: str
) -> None:
    found = chosen(**fields)
    assert names(found) == left
    assert told in found.ruled_out[name]


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        (Candidate("x", obstacle="its provider has no credential here"), "no credential"),
        (Candidate("x", cost=None), "no price is known"),
        (Candidate("x", window=100, tokens=101), "window of 100 tokens is less than the 101 needed"),
        (Candidate("x", tokens=WINDOW_ASSUMED + 1), "it declares none"),
    ],
)
def test_what_can_serve_nothing_or_not_this(candidate: Candidate, told: str) -> None:
    found = chosen(candidate)
    assert not found.fitting
    assert told in found.ruled_out["x"]


def test_an_undeclared_quality_passes_no_limit_before_it_is_rated() -> None:
    limit = Selection(min_quality=0.5)
    assert "no quality" in chosen(Candidate("x"), selection=limit).ruled_out["x"]
    rated = Candidate("x", standing=Standing(ratings=12, rating_sum=11))
    assert names(chosen(rated, selection=limit)) == ["x"]


def test_only_a_latency_that_was_seen_rules_out() -> None:
    limit = Selection(max_latency=0.5)
    assert names(chosen(Candidate("new"), selection=limit)) == ["new"]
    slow = Candidate("slow", standing=Standing(seconds=40.0, measured=20))
    assert "it takes 1.87 s" in chosen(slow, selection=limit).ruled_out["slow"]
    quick = Candidate("quick", standing=Standing(seconds=2.0, measured=20))
    assert names(chosen(quick, selection=limit)) == ["quick"]


def test_failures_and_ratings_move_the_order_little_by_little() -> None:
    assert expected_quality(0.9, Standing()) == pytest.approx(0.9)
    assert expected_quality(0.9, Standing(ratings=1)) == pytest.approx(9 / 11), "one rating moves little"
    assert expected_quality(0.9, Standing(ratings=90)) == pytest.approx(0.09), "a hundred decide"
    bad = Candidate("good", 0.9, cost=CENT, worst=CENT, standing=Standing(answered=5, failed=30))
    assert names(chosen(bad, CHEAP)) == ["cheap", "good"]


def test_some_calls_explore_and_the_others_never() -> None:
    near = (Candidate("a", 0.61), Candidate("b", 0.6), Candidate("c", 0.55))
    draws = [at / 10_000 for at in range(10_000)]
    first = [names(chosen(*near, draw=draw))[0] for draw in draws]
    explored = [name for name, draw in zip(first, draws, strict=True) if draw < EXPLORE]
    assert set(explored) == {"a", "b", "c"}
    assert {name for name, draw in zip(first, draws, strict=True) if draw >= EXPLORE} == {"a"}
    known = Candidate("c", 0.1, standing=Standing(ratings=300, rating_sum=30))
    assert all(names(chosen(near[0], known, draw=draw))[0] == "a" for draw in draws), "the worse is known too well"


def test_without_chance_or_with_the_same_it_is_the_same_choice() -> None:
    assert len({tuple(names(chosen())) for _ in range(50)}) == 1
    assert chosen(draw=0.01) == chosen(draw=0.01)
    assert chosen(draw=0.01).explored
    assert not chosen(draw=EXPLORE).explored


def test_a_plan_is_no_longer_than_a_call_has_attempts_and_asks_no_wire_beyond_it() -> None:
    asked: list[str] = []

    def carries(name: str) -> str:
        asked.append(name)
        return ""

    found = chosen(*(Candidate(f"m{at}", 0.5) for at in range(20)), carries=carries)
    assert len(found.fitting) == len(asked) == MOST_ATTEMPTS


def test_the_router_takes_the_choice_as_it_is_but_for_the_unhealthy() -> None:
    class Known:
        def is_healthy(self, name: str) -> bool:
            return name != "good"

        def busy(self, _name: str) -> int:
            return 0

        def latency(self, _name: str) -> float | None:
            return None

    route = Route((Deployment("good"), Deployment("cheap")), strategy="auto")
    models = {name: ModelSpec(name, "llm", "p") for name in ("good", "cheap")}
    models["auto"] = ModelSpec("auto", "llm", "p", route=route)
    found = plan("auto", models, lambda _: True, Known(), Ask(chosen=chosen(GOOD, CHEAP).steps("auto")))
    assert found.models == ("cheap", "good")
    assert "of auto, score" in found.reasons[0]
    assert "its last calls failed" in found.reasons[1]


def test_what_was_fades() -> None:
    now = 1_000 * DAY
    told = Outcomes(answered=8, failed=4, micros=6_000_000, measured=8)
    found = standings(
        [HourOfOutcomes("a", now, told), HourOfOutcomes("a", now - OUTCOMES_HALVE, told)],
        [DayOfRatings("a", now, 2, 1.5), DayOfRatings("b", now - RATINGS_HALVE, 4, 4.0)],
        now + 0 * HOUR,
    )
    assert found["a"] == Standing(answered=12, failed=6, seconds=9.0, measured=12, ratings=2, rating_sum=1.5)
    assert found["b"] == Standing(ratings=2, rating_sum=2)
