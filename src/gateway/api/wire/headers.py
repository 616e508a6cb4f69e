"""The facts of an answer as response headers, the same on every door."""

from __future__ import annotations

import time

from gateway.clock import SECOND, rfc3339
from gateway.errors import RateLimited, ValidationFailed
from gateway.money import plain_usd
from gateway.security.limits import LimitState
from gateway.serving.answer import AnswerMeta


def answer_headers(meta: AnswerMeta, *, final: bool = True) -> dict[str, str]:
    """``x-gateway-*`` and ``x-ratelimit-*``. ``final=False`` (a stream has begun) leaves the cost out."""
    headers = {
        "x-gateway-model": meta.model,
        "x-gateway-provider": meta.provider,
        "x-gateway-cache": meta.cache,
        "x-gateway-attempts": str(meta.attempts),
        "x-gateway-config": meta.config_epoch,
    }
    if meta.route:
        headers["x-gateway-route"] = meta.route
    if meta.tokens_saved is not None:
        headers["x-gateway-tokens-saved"] = str(meta.tokens_saved)
    if meta.guards:
        headers["x-gateway-guards"] = meta.guards
    if final:
        headers["x-gateway-cost-usd"] = plain_usd(meta.cost)
    if meta.flags:
        headers["x-gateway-usage-flags"] = ",".join(meta.flags)
    if meta.dropped_params:
        headers["x-gateway-dropped-params"] = ",".join(meta.dropped_params)
    if meta.limits is not None:
        headers |= limit_headers(meta.limits)
    return headers


def limit_headers(state: LimitState) -> dict[str, str]:
    """What the key has left; nothing where it has no limit."""
    headers: dict[str, str] = {}
    for kind in ("requests", "tokens"):
        limit = getattr(state, f"limit_{kind}")
        if limit is not None:
            headers[f"x-ratelimit-limit-{kind}"] = str(limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(getattr(state, f"remaining_{kind}"))
            headers[f"x-ratelimit-reset-{kind}"] = f"{getattr(state, f'reset_{kind}') or 0:g}s"
    return headers


def refused_headers(error: RateLimited) -> dict[str, str]:
    """The same of the limit that refused a call."""
    return limit_headers(_refused(error))


def anthropic_limit_headers(told: LimitState | RateLimited) -> dict[str, str]:
    """What is left as Anthropic's SDKs read it: ``reset`` is a time."""
    state = _refused(told) if isinstance(told, RateLimited) else told
    headers: dict[str, str] = {}
    for kind in ("requests", "tokens"):
        limit = getattr(state, f"limit_{kind}")
        if limit is not None:
            reset = time.time_ns() // 1000 + int((getattr(state, f"reset_{kind}") or 0) * SECOND)
            headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{kind}-remaining"] = str(getattr(state, f"remaining_{kind}"))
            headers[f"anthropic-ratelimit-{kind}-reset"] = rfc3339(reset)
    return headers


def _refused(error: RateLimited) -> LimitState:
    limit, used, wait = error.details.get("limit"), error.details.get("used", 0), error.retry_after
    if error.details.get("window") == "requests_per_minute":
        return LimitState(limit_requests=limit, remaining_requests=max(limit - used, 0), reset_requests=wait)
    if error.details.get("window") == "tokens_per_minute":
        return LimitState(limit_tokens=limit, remaining_tokens=max(limit - used, 0), reset_tokens=wait)
    return LimitState()


def cache_seconds(asked: str) -> int | None:
    """``x-gateway-cache`` of a request: seconds, ``off``, or ``semantic`` (which names no time of its own)."""
    if not asked or asked == "semantic":
        return None
    if asked == "off":
        return 0
    if not asked.isdecimal() or len(asked) > 5:
        raise ValidationFailed("x-gateway-cache: seconds, semantic or off is expected", param="x-gateway-cache")
    return int(asked)
