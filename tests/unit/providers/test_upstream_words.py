"""What providers say of a prompt that is too long, and of content that they refuse, in their own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import (
    ContentRefused,
    ContextTooLong,
    UpstreamAccountRefused,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
)
from gateway.providers.upstream_errors import error_of, event_error, retry_after
from gateway.routing.retry import judge


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 8192 tokens.",
        "Your input exceeds the context window of this model.",
        "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
        "Input is too long for requested model.",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        "the request exceeds the available context size",
    ],
)
def test_too_long(said: str) -> None:
    for body in ({"error": {"message": said}}, {"message": said}):
        assert isinstance(error_of("p", 400, {}, json.dumps(body).encode()), ContextTooLong)


def test_content() -> None:
    said = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"},
    }
    assert isinstance(error_of("p", 400, {}, json.dumps(said).encode()), ContentRefused)
    other = {"error": {"message": "tools[0].name: too long"}}
    assert type(error_of("p", 400, {}, json.dumps(other).encode())) is UpstreamRejected


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, {"error": {"message": "no such key"}}),
        (
            400,
            {"error": {"code": 400, "message": "API key not valid. Pass a valid one.", "status": "INVALID_ARGUMENT"}},
        ),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}},
        ),
        (402, {"error": {"message": "Insufficient Balance"}}),
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
    ],
)
def test_what_only_the_operator_can_mend_is_left_for_another_deployment(status: int, said: dict[str, Any]) -> None:
    error = error_of("p", status, {}, json.dumps(said).encode())
    assert isinstance(error, UpstreamAccountRefused)
    assert judge(error, attempt=1, total=1, most_here=3).what == "next"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, UpstreamOverloaded),
        ({"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}, UpstreamOverloaded),
        ({"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}, UpstreamRateLimited),
        ({"code": 400, "message": "bad", "type": "BadRequestError"}, UpstreamRejected),
        ({"code": "server_error", "message": "x"}, UpstreamError),
    ],
)
def test_an_error_in_the_middle_of_a_stream(error: dict[str, Any], kind: type[UpstreamError]) -> None:
    assert type(event_error("p", {"error": error})) is kind


def test_google_says_in_the_body_how_long_to_wait() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}
    error = {
        "code": 429,
        "message": "Quota exceeded",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "x"}, info],
    }
    for body in ({"error": error}, [{"error": error}]):
        found = error_of("p", 429, {}, json.dumps(body).encode())
        assert (type(found), found.retry_after) == (UpstreamRateLimited, 7.5)
        assert found.details["upstream_code"] == "RESOURCE_EXHAUSTED"
    assert error_of("p", 429, {"retry-after": "2"}, json.dumps({"error": error}).encode()).retry_after == 2


def test_aws_writes_its_words_in_two_ways() -> None:
    for body in ({"message": "Slow down"}, {"Message": "Slow down", "__type": "ThrottlingException"}):
        assert error_of("p", 429, {}, json.dumps(body).encode()).message == "p answered 429: Slow down"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Fri, 27 Nov 2020 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "inf"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after-ms": "-5"}, 0.0),
        ({}, None),
    ],
)
def test_a_time_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
