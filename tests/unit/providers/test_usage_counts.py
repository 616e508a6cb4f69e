"""What providers tell of tokens, however badly: read by the rules of ``usage_counts``, never a failed call."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.models.llm_models import Usage, UsageDetail
from gateway.providers import anthropic_wire, bedrock_wire, gemini_wire, openai_wire
from gateway.providers.usage_counts import count_of

NOTHING = Usage()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *[(3, 3), (3.0, 3), (3.5, 7), ("3", 7), (None, 7), ([3], 7), (True, 7), (-3, -3), (10**30, 10**15)],
        *[(-(10**30), -(10**15)), (1e300, 10**15), (float("inf"), 7), (float("nan"), 7)],
    ],
)
def test_a_count_is_a_whole_number_or_not_told(value: Any, read: int) -> None:
    assert count_of({"n": value}, "n", 7) == read


@pytest.mark.parametrize(
    "raw",
    [
        *[None, 3, "many", [], {}, {"prompt_tokens": "many"}, {"prompt_tokens": 0, "completion_tokens": 0}],
        {"prompt_tokens_details": 3, "completion_tokens_details": [1]},
    ],
)
def test_a_usage_that_tells_nothing_is_none(raw: Any) -> None:
    assert openai_wire.decode_usage(raw) == NOTHING
    assert anthropic_wire.decode_usage(raw) == NOTHING
    assert gemini_wire.decode_usage(raw) == NOTHING
    assert bedrock_wire.decode_usage(raw) == NOTHING


def test_kinds_with_prices_of_their_own_are_told_apart() -> None:
    told = openai_wire.decode_usage(
        {
            "prompt_tokens": 100,
            "completion_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 30, "image_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 20},
        }
    )
    assert told.detail == UsageDetail(input_audio=30, output_audio=20, input_image=5)
    google = gemini_wire.decode_usage(
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 9,
            "cachedContentTokenCount": 50,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}, 3],
            "candidatesTokensDetails": "none",
        }
    )
    assert google.detail == UsageDetail(input_audio=40, cached_audio=20)
    long = anthropic_wire.decode_usage(
        {
            "input_tokens": 5,
            "output_tokens": 2,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        }
    )
    assert long == Usage(35, 2, cache_write_tokens=30, basis="provider", detail=UsageDetail(cache_write_long=20))


def test_counts_of_anthropics_streams_are_cumulative() -> None:
    decoder = anthropic_wire.StreamDecoder()
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}
    tell = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}}
    empty = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 0, "output_tokens": 0}}
    usages = [decoder.decode(event)[-1].usage for event in (start, tell, tell, empty)]
    assert [(usage.input_tokens, usage.output_tokens) for usage in usages if usage] == [(10, 1), *[(10, 3)] * 3]
