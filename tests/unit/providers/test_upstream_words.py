"""What providers say of a prompt that is too long, and of content that they refuse, in their own words."""

from __future__ import annotations

import json

import pytest

from gateway.errors import ContentRefused, ContextTooLong, UpstreamRejected
from gateway.providers.upstream_errors import error_of, retry_after


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
