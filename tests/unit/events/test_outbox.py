"""Webhook messages: signed as the Standard Webhooks specification says, tried again for hours."""

from __future__ import annotations

import base64
import hashlib
import hmac

from gateway.events.outbox import SCHEDULE, headers, next_try, signature


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
