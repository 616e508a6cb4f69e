"""What a provider's refusal means: its HTTP status and error body as one of our errors.

The provider's own words are passed on (they help), shortened, without anything that looks like a key.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import (
    ContentRefused,
    ContextTooLong,
    UpstreamAccountRefused,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
)
from gateway.security.scrub import scrub_text

#: How servers say that a prompt is too long: OpenAI, vLLM, Anthropic, Bedrock, Google, xAI, llama.cpp.
_CONTEXT = (
    *("context_length_exceeded", "maximum context length", "exceeds the context window", "maximum model length"),
    *("prompt is too long", "exceed context limit", "input is too long", "exceeds the maximum number of tokens"),
    *("maximum prompt length", "exceeds the available context"),
)
_CONTENT = ("content_filter", "content_policy", "content management policy", "content filtering policy")


def error_of(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error of an answer that is none. ``details``: the provider, its status, its own code."""
    kind, text = _words(body)
    lowered = f"{kind} {text}".lower()
    message = f"{provider} answered {status}" + (f": {scrub_text(text)[:300]}" if text else "")
    details: dict[str, Any] = {"provider": provider, "upstream_status": status, "upstream_code": kind, "reached": True}
    wait = retry_after(headers)
    if status in (401, 403):
        return UpstreamAccountRefused(
            f"{provider} refused our credential ({status})",
            mend="the operator checks this provider's api_key",
            **details,
        )
    if status == 429:
        quota = "insufficient_quota" in lowered
        error = UpstreamAccountRefused if quota else UpstreamRateLimited
        return error(message, retry_after=wait, mend="the account has no credit left" if quota else "", **details)
    if status in (503, 529):
        return UpstreamOverloaded(message, retry_after=wait, **details)
    if status in (408, 504):
        return UpstreamTimeout(message, **details)
    if any(word in lowered for word in _CONTEXT):
        return ContextTooLong(message, mend="shorten the prompt or use a model with a larger context", **details)
    if any(word in lowered for word in _CONTENT):
        return ContentRefused(message, **details)
    if 400 <= status < 500:
        return UpstreamRejected(message, mend="change the request as the provider says", **details)
    return UpstreamError(message, retry_after=wait, **details)


def event_error(provider: str, data: Mapping[str, Any]) -> UpstreamError:
    """The error that a provider told in mid-stream."""
    raw = data.get("error", data)
    body = msgspec.json.encode({"error": raw})
    kind = str(raw.get("type") or raw.get("code") or "") if isinstance(raw, Mapping) else ""
    status = {"overloaded_error": 529, "rate_limit_error": 429, "invalid_request_error": 400}.get(kind, 500)
    return error_of(provider, status, {}, body)


def no_stream(provider: str, kind: str, body: bytes) -> UpstreamError:
    """The error of an answer that is well by its status and no stream by its type."""
    try:
        raw = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raw = None
    if isinstance(raw, dict) and raw.get("error"):
        return event_error(provider, raw)
    return UpstreamError(f"{provider} answered with {kind} where a stream was asked for", reached=True)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the provider says: ``retry-after-ms``, else ``retry-after`` (seconds or date); ``None``
    for what is no time, or none that ends."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            value = headers.get("retry-after", "")
            if value.replace(".", "", 1).isdigit():
                seconds = float(value)
            else:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _words(body: bytes) -> tuple[str, str]:
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "", ""
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    return str(error.get("code") or error.get("type") or ""), str(error.get("message") or "")
