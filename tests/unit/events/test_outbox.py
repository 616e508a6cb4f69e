"""Webhook messages: signed as the Standard Webhooks specification says, tried again for hours."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from gateway.clock import SECOND
from gateway.events.outbox import LONGEST_PAUSE, SCHEDULE, Receipt, asked_pause, headers, next_try, signature

#: 1 January 2026, noon, in microseconds.
NOON = 1_767_268_800 * SECOND


def test_the_example_of_the_specification() -> None:
    """The test vector that the specification's libraries share."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_receiver_can_check_it() -> None:
    made = headers(["any text"], "msg_1", 1_700_000_000, b"{}")
    expected = hmac.new(b"any text", b"msg_1.1700000000.{}", hashlib.sha256).digest()
    assert made["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert made["webhook-id"] == "msg_1"
    assert made["webhook-timestamp"] == "1700000000"


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in headers([""], "msg_1", 1, b"{}")


def test_tries_are_spread_over_hours_and_end() -> None:
    pauses = [next_try(attempt) for attempt in range(1, len(SCHEDULE) + 1)]
    assert all(
        pause is not None and 0.9 * low <= pause <= 1.1 * low for pause, low in zip(pauses, SCHEDULE, strict=True)
    )
    assert next_try(len(SCHEDULE) + 1) is None
    assert sum(SCHEDULE) > 12 * 3600


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 12:10:00 GMT", 600),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Sun, 01 Jan 2096 12:00:00 GMT", LONGEST_PAUSE),
        ("9" * 400, LONGEST_PAUSE),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
    ],
)
def test_a_busy_receiver_says_when_to_come_back(said: str, seconds: float) -> None:
    assert asked_pause(Receipt(429, said), NOON) == seconds
    assert asked_pause(Receipt(503, said), NOON) == seconds
    assert asked_pause(Receipt(500, said), NOON) == 0


def test_what_was_asked_only_ever_puts_a_try_off() -> None:
    assert next_try(1, asked=700.0) == 700.0
    late = next_try(len(SCHEDULE), asked=1.0)
    assert late is not None
    assert late >= 0.9 * SCHEDULE[-1]
    assert next_try(len(SCHEDULE) + 1, asked=5.0) is None
