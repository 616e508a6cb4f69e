"""Marks in an Anthropic body that let the provider keep its beginning: set only where the caller set none.

A mark costs nothing; what is written at it costs more than usual input, and what is read there later a
tenth. So marks stand only behind what the next call will send again and this one's predecessor already
sent: tools, system, and the turns before the newest one. The newest turn itself is never marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_MARK = {"type": "ephemeral"}
#: The fewest tokens that a model keeps, by a part of its name; shorter beginnings are not marked.
_LEAST: tuple[tuple[tuple[str, ...], int], ...] = (
    (("haiku-4-5", "opus-4-5", "opus-4-6", "opus-4-7"), 4096),
    (("3-haiku", "3-5-haiku", "haiku-3", "sonnet-4-6"), 2048),
    (("opus-5",), 512),
)
_USUALLY = 1024
#: Bytes of JSON that are about a token.
_BYTES = 4
_MARKABLE = frozenset({"text", "image", "tool_use", "tool_result", "document"})


def marked(body: dict[str, Any], upstream_model: str) -> dict[str, Any]:
    """The body with up to four marks; the same body where it has marks of its own or is too short."""
    if _has_mark(body):
        return body
    least = _least(upstream_model)
    made = dict(body)
    size = 0
    tools = body.get("tools")
    if tools:
        size += _tokens(tools)
        if size >= least:
            made["tools"] = [*tools[:-1], {**tools[-1], "cache_control": _MARK}]
    system = body.get("system")
    if system:
        size += _tokens(system)
        if size >= least:
            made["system"] = _last_block_marked(system) or system
    made["messages"] = _turns_marked(body["messages"], size, least)
    return made


def _turns_marked(turns: list[dict[str, Any]], before: int, least: int) -> list[dict[str, Any]]:
    """Marks behind the last turn that was sent before, and where the call before this one had its mark:
    the provider looks back over a limited number of blocks only."""
    made = list(turns)
    sizes = [_tokens(turn.get("content")) for turn in turns]
    for at in (len(turns) - 2, len(turns) - 4):
        if at >= 0 and before + sum(sizes[: at + 1]) >= least:
            content = _last_block_marked(turns[at].get("content"))
            if content is not None:
                made[at] = {**turns[at], "content": content}
    return made


def _last_block_marked(content: Any) -> list[Any] | None:
    """The content with its last block marked; ``None`` where that cannot be (thoughts, empty texts)."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    last = blocks[-1] if blocks else {}
    if last.get("type") not in _MARKABLE or last.get("text") == "":
        return None
    return [*blocks[:-1], {**last, "cache_control": _MARK}]


def _has_mark(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value.get("cache_control")) or any(
            _has_mark(value.get(name)) for name in ("tools", "system", "messages", "content")
        )
    return isinstance(value, list) and any(_has_mark(item) for item in value)


def _least(upstream_model: str) -> int:
    for parts, tokens in _LEAST:
        if any(part in upstream_model for part in parts):
            return tokens
    return _USUALLY


def _tokens(value: Any) -> int:
    return len(msgspec.json.encode(value)) // _BYTES
