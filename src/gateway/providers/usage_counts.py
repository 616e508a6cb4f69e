"""Reads the counts of tokens that a provider tells, whatever it tells.

A count that is no whole number (a text, a fraction, a list) is not told. A usage without input and output is
no usage: in a stream the one before it stands, and where there is none the tokens are counted here. Negative
and absurd counts are kept as they are: the ledger mends them by its rules, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.models.llm_models import Usage, UsageDetail

#: Far above any count and far below what an integer of JSON may hold.
_BEYOND = 10**15
NONE = Usage()


def count_of(raw: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    """The count of that name; ``otherwise`` where none is told."""
    value = raw.get(name)
    if type(value) is int:
        return value if -_BEYOND < value < _BEYOND else _BEYOND if value > 0 else -_BEYOND
    if isinstance(value, float) and value.is_integer():
        return count_of({name: int(value)}, name)
    return otherwise


def part_of(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object of that name; an empty one where there is none."""
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def told(usage: Usage, before: Usage = NONE) -> Usage:
    """The usage, or the one ``before`` where it tells nothing."""
    return usage if usage.input_tokens or usage.output_tokens else before


def google_detail(raw: Mapping[str, Any]) -> UsageDetail | None:
    """Sound and images as Google tells them apart from text."""
    prompt, answer = _kinds(raw, "promptTokensDetails"), _kinds(raw, "candidatesTokensDetails")
    if not (prompt.keys() | answer.keys()) & {"AUDIO", "IMAGE"}:
        return None
    return UsageDetail(
        input_audio=prompt.get("AUDIO", 0),
        output_audio=answer.get("AUDIO", 0),
        cached_audio=_kinds(raw, "cacheTokensDetails").get("AUDIO", 0),
        input_image=prompt.get("IMAGE", 0),
        output_image=answer.get("IMAGE", 0),
    )


def openai_detail(prompt: Mapping[str, Any], completion: Mapping[str, Any]) -> UsageDetail | None:
    """Sound and images as OpenAI tells them apart from text."""
    names = ("audio_tokens", "image_tokens")
    if not any(part.get(name) for part in (prompt, completion) for name in names):
        return None
    return UsageDetail(
        input_audio=count_of(prompt, "audio_tokens"),
        output_audio=count_of(completion, "audio_tokens"),
        input_image=count_of(prompt, "image_tokens"),
        output_image=count_of(completion, "image_tokens"),
    )


def _kinds(raw: Mapping[str, Any], name: str) -> dict[str, int]:
    """Tokens by their kind: TEXT, IMAGE, AUDIO, …"""
    listed = raw.get(name)
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return {str(item.get("modality")): count_of(item, "tokenCount") for item in items}
