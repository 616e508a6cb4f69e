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
    UpstreamMalformed,
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
#: How Google says that a key is wrong, and Anthropic and OpenAI that an account is empty: as a bad request, or a limit.
_CREDENTIAL = ("api key not valid", "api_key_invalid", "api key expired")
_CREDIT = ("insufficient_quota", "credit balance is too low")
_CONTENT = ("content_filter", "content_policy", "content management policy", "content filtering policy")


def error_of(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error of an answer that is none. ``details``: the provider, its status, its own code."""
    kind, text, told_wait = _words(body)
    lowered = f"{kind} {text}".lower()
    message = f"{provider} answered {status}" + (f": {scrub_text(text)[:300]}" if text else "")
    details: dict[str, Any] = {"provider": provider, "upstream_status": status, "upstream_code": kind, "reached": True}
    wait = retry_after(headers)
    wait = told_wait if wait is None else wait
    if status in (401, 403) or (status == 400 and any(word in lowered for word in _CREDENTIAL)):
        return UpstreamAccountRefused(
            f"{provider} refused our credential ({status})",
            mend="the operator checks this provider's api_key",
            **details,
        )
    if status == 402 or (status in (400, 429) and any(word in lowered for word in _CREDIT)):
        return UpstreamAccountRefused(message, mend="the account has no credit left", **details)
    if status == 429:
        return UpstreamRateLimited(message, retry_after=wait, **details)
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
    code = raw.get("code") if isinstance(raw, Mapping) else None
    if isinstance(code, int) and 400 <= code < 600:
        status = code  # Google's and vLLM's
    return error_of(provider, status, {}, body)


def no_stream(provider: str, kind: str, body: bytes) -> UpstreamError:
    """The error of an answer that is well by its status and no stream by its type."""
    try:
        raw = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raw = None
    if isinstance(raw, dict) and raw.get("error"):
        return event_error(provider, raw)
    return UpstreamMalformed(f"{provider} answered with {kind} where a stream was asked for", reached=True)


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


def _words(body: bytes) -> tuple[str, str, float | None]:
    """The provider's code, its message, and the seconds to wait where the body says them (Google's ``RetryInfo``)."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "", "", None
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, list) and error and isinstance(error[0], dict):
        error = error[0].get("error", error[0])  # Google's, of a stream
    if isinstance(error, str):
        return "", error, None
    if not isinstance(error, dict):
        return "", "", None
    kind = error.get("code") or error.get("type") or error.get("__type") or ""
    kind = error.get("status") or kind if isinstance(kind, int) else kind
    return str(kind), str(error.get("message") or error.get("Message") or ""), _told_wait(error.get("details"))


def _told_wait(details: Any) -> float | None:
    for item in details if isinstance(details, list) else ():
        delay = item.get("retryDelay") if isinstance(item, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return retry_after({"retry-after": delay[:-1]})
    return None
