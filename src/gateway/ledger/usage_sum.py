"""The usage of several calls as one."""

from __future__ import annotations

import msgspec

from gateway.models.llm_models import Usage, UsageDetail


def summed(first: Usage, second: Usage) -> Usage:
    """All counts of both; the basis is the weaker of the two, and what was odd of either stays named."""
    counts = {name: getattr(first, name) + getattr(second, name) for name in _COUNTS}
    detail = first.detail or second.detail
    if first.detail is not None and second.detail is not None:
        pairs = zip(msgspec.structs.astuple(first.detail), msgspec.structs.astuple(second.detail), strict=True)
        detail = UsageDetail(*(one + other for one, other in pairs))
    basis = max(first.basis, second.basis, key=_WEAKNESS.index)
    odd = tuple(dict.fromkeys((*first.odd, *second.odd)))
    return msgspec.structs.replace(second, **counts, basis=basis, detail=detail, odd=odd)


_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
_WEAKNESS = ("provider", "counted", "estimated", "none")
