"""What follows failures, by the door: how often, where to, and what it may cost."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fixtures.house import ADMIN, Answer, House
from fixtures.upstream import Play, answer, events, openai_answer, openai_chunks
from gateway.registry.catalogue import Timeouts
from gateway.routing.health import FAILURES
from gateway.routing.retry import BURST, BURST_SECONDS, MOST_ATTEMPTS, wait_before

SSE = {"content-type": "text/event-stream"}
REFUSED = answer({"error": {"code": "content_filter", "message": "The response was filtered: content_filter"}}, 400)


@pytest.fixture(autouse=True)
def rested(house: House) -> None:
    """No deployment rests from an earlier test."""
    for name in house.core.health.failures():
        house.core.health.succeeded(name)


def ask(
    house: House, model: str, key: str | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
    return house.ask("POST", "/v1/chat/completions", body, key=key or house.key("developer"), headers=headers)


def asked(house: House) -> list[str]:
    return [sent.body["model"] for sent in house.upstream.sent]


def test_fallbacks_of_a_class_are_each_tried_once(house: House) -> None:
    house.upstream.play(REFUSED)
    assert ask(house, "t-refusing").status == 400
    assert asked(house) == ["small", "large", "tiny"]


def test_attempts_are_paced_and_six_in_all() -> None:
    starts = [10.0, 10.1, 10.2]
    assert wait_before(starts, 10.3) == 0
    starts.append(10.3)
    assert len(starts) == BURST
    assert wait_before(starts, 10.4) == pytest.approx(BURST_SECONDS - 0.4)
    assert wait_before([*starts, 13.0], 13.0) == pytest.approx(0.1)
    assert wait_before(starts, 13.5) == 0


def test_a_failing_plan_ends_after_six_attempts_four_of_them_in_three_seconds(house: House) -> None:
    house.upstream.play(answer({"error": {"message": "boom"}}, 500))
    before = time.monotonic()
    assert ask(house, "t-window").status == 502
    took = time.monotonic() - before
    assert asked(house) == ["small"] * 3 + ["tiny"] * 3, "500: the same deployment first"
    assert len(house.upstream.sent) == MOST_ATTEMPTS
    assert took >= BURST_SECONDS, "the fifth attempt waits until the first is three seconds old"


def test_a_limit_of_the_provider_is_waited_for_as_it_says(house: House) -> None:
    limited = answer({"error": {"message": "slow down"}}, 429, **{"retry-after": "2"})
    house.upstream.play(limited, answer(openai_answer()))
    before = time.monotonic()
    assert ask(house, "t-small").status == 200
    assert time.monotonic() - before >= 1.8
    house.upstream.play(answer({"error": {"message": "slow down"}}, 429, **{"retry-after": "60"}))
    found = ask(house, "t-small")
    assert (found.status, found.headers["retry-after"]) == (429, "60")
    assert len(house.upstream.sent) == 1, "too long a wait to hold the caller's connection for"


def test_a_deployment_that_fails_rests_and_others_answer(house: House) -> None:
    house.upstream.play(Play(401, [b"{}"]), answer(openai_answer()))
    for _ in range(FAILURES):
        house.upstream.play(Play(401, [b"{}"]), answer(openai_answer()))
        assert ask(house, "t-route").status == 200
        assert asked(house) == ["small", "large"]
    house.upstream.play(answer(openai_answer()))
    found = ask(house, "t-route")
    assert asked(house) == ["large"], "no time is lost on one that rests"
    assert "t-large" in found.headers["x-gateway-route"]
    told = house.ask("GET", "/models/t-route/route").body["plan"]
    assert [(step["model"], step["healthy"]) for step in told] == [("t-large", True), ("t-small", False)]


def test_a_stream_that_breaks_in_the_middle_counts_against_its_deployment(house: House) -> None:
    broken = events(*openai_chunks("Half of", finish=None, usage=False), break_off=True, done=False)
    house.upstream.play(broken)
    found = ask(house, "t-small", stream=True)
    assert '"error"' in found.raw.decode()
    assert house.core.health.failures() == {"t-small": 1}
    assert len(house.upstream.sent) == 1, "what was said is not said again"


def test_a_silent_stream_is_left_for_another_that_waits(house: House) -> None:
    house.upstream.play(Play(200, [], SSE, 5.0), events(*openai_chunks("Here")))
    found = ask(house, "t-quick", stream=True)
    assert "Here" in found.raw.decode()
    assert asked(house) == ["hasty", "large"]
    assert house.upstream.hung_up.wait(5)
    times = Timeouts()
    assert times.to_first_token(others_wait=True) == 10
    assert times.to_first_token(others_wait=False) == times.first_byte, "alone it has longer"


def test_a_race_is_run_only_where_the_budget_covers_both(house: House) -> None:
    """An attempt costs 12 cents at worst, and 20 are there."""
    record, secret = house.services.identity.create_key(ADMIN, name="raced", role="developer")
    budget = {"scope": "key", "subject": record.key_id, "limit_usd": "0.20", "window": "day"}
    house.services.budgets.create(ADMIN, budget)
    whole = answer(openai_answer("First."))
    house.upstream.play(Play(200, whole.chunks, whole.headers, hang=0.8))
    found = ask(house, "t-raced", secret)
    assert found.body["choices"][0]["message"]["content"] == "First."
    assert asked(house) == ["slow"], "no money for a second runner: the first was left alone"


def test_a_session_or_a_prompt_sticks_to_one_deployment(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    for at in range(8):
        for _ in range(3):
            ask(house, "t-sticky", headers={"x-gateway-session": f"session-{at}"})
    names = asked(house)
    assert all(len(set(names[at : at + 3])) == 1 for at in range(0, 24, 3))
    assert len(set(names)) == 2, "sessions are shared out"


@pytest.mark.parametrize(
    "broken",
    [
        Play(200, [b'{"choices": ['], {"content-type": "application/json"}),
        Play(200, [b"<html>Sign in</html>"], {"content-type": "text/html"}),
        Play(200, [b'{"choices": []}'], {"content-type": "application/json"}),
        Play(200, [b"[" * 100_000], {"content-type": "application/json"}),
    ],
    ids=["cut off", "a page", "no choice", "nested without end"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_answer_goes_to_the_next_deployment_at_once(house: House, broken: Play, stream: bool) -> None:
    house.upstream.play(broken, events(*openai_chunks("Hi.")) if stream else answer(openai_answer("Hi.")))
    found = ask(house, "t-route", stream=stream)
    assert found.status == 200, found.raw
    assert asked(house) == ["small", "large"]
    assert b"Hi." in found.raw


def test_what_is_no_answer_is_asked_again_where_there_is_no_other(house: House) -> None:
    house.upstream.play(Play(200, [b"<html>"], {"content-type": "text/html"}), answer(openai_answer("Hi.")))
    assert ask(house, "t-large").status == 200
    assert asked(house) == ["large", "large"]
