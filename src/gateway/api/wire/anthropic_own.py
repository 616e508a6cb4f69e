"""What only Anthropic has of its dialect: blocks, hints, and fields that are its own house's matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.api.wire.fields import plain_name
from gateway.api.wire.tool_results import in_turns
from gateway.errors import NotSupported, ValidationFailed

#: Who answers and who pays is not for the provider to say: the reason, and the mend.
_HOUSE = {
    "fallbacks": ("the gateway chooses the models", "name a route with fallbacks as the model"),
    "fallback_credit_token": ("the gateway chooses the models", "leave it out"),
    "billing_policy": ("the gateway's own account pays", "leave it out"),
}
#: Blocks that only Anthropic has: they go in the body as they stand; see ``Chat.native_only``.
_BLOCKS = frozenset(
    {"document", "search_result", "redacted_thinking", "server_tool_use", "container_upload", "mcp_tool_use"}
    | {"web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "mcp_tool_result"}
    | {"bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result"}
    | {"advisor_tool_result", "compaction", "fallback", "mcp_tool_listing", "tool_addition", "tool_removal"}
    | {"tool_reference", "browser_state"}
)
#: Fields of a turn that every dialect has.
_TURN = ("role", "content")


def refuse_house(name: str, value: Any) -> None:
    """Raises for a field that is none of the door's: ``NotSupported`` says why, ``ValidationFailed`` that there
    is no such thing."""
    if name not in _HOUSE:
        raise ValidationFailed(f"{name[:100]}: no such parameter", mend="see the messages API", param=name[:100])
    if value is not None:
        why, mend = _HOUSE[name]
        raise NotSupported(f"{name}: {why}", mend=mend, param=name)


def is_own(block: Any) -> bool:
    """Whether no other dialect has such a block; a picture that Anthropic keeps is one, too."""
    kind = block.get("type") if isinstance(block, dict) else None
    return (isinstance(kind, str) and kind in _BLOCKS) or (kind == "image" and _is_kept(block))


def native_only(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the answer depends on and no other dialect has."""
    names = [name for name in ("container", "mcp_servers", "compaction") if body.get(name)]
    names += [str(item["type"]) for item in body.get("tools") or () if item.get("type") not in (None, "custom")]
    for block, nested in _blocks(body):
        if is_own(block):
            names.append("image.source.file" if block["type"] == "image" else str(block["type"]))
        elif nested and block.get("type") not in ("text", "image"):
            names.append(f"tool_result.{block.get('type')}")
        elif block.get("type") == "tool_result" and in_turns(block.get("content")):
            names.append("tool_result.image")
    return tuple(dict.fromkeys(names))


def unmapped(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What is only a hint: cache marks, citations of earlier answers, how long a turn of the system counts."""
    holders = [*(block for block, _ in _blocks(body)), *(body.get("tools") or ())]
    names = [name for name in ("cache_control", "citations") if any(holder.get(name) for holder in holders)]
    names += sorted({f"messages.{plain_name(name)}" for turn in body["messages"] for name in turn if name not in _TURN})
    return tuple(name for name in names if name not in body)


def signed_only(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body without thinking that nobody signed: another provider's, told here in Anthropic's words. Anthropic
    and Bedrock refuse it, the others have no place for it. Where there is none, the same body."""
    turns = body.get("messages")
    if not isinstance(turns, list) or not any(_is_unsigned(block) for turn in turns for block in _content(turn)):
        return body
    kept = []
    for turn in turns:
        content = [block for block in _content(turn) if not _is_unsigned(block)]
        if len(content) == len(_content(turn)):
            kept.append(turn)
        elif content:
            kept.append({**turn, "content": content})
    return {**body, "messages": kept}


def _content(turn: Any) -> list[Any]:
    content = turn.get("content") if isinstance(turn, dict) else None
    return content if isinstance(content, list) else []


def _is_unsigned(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature")


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Every block of the conversation, and whether it stands within a tool's result."""
    for content in (body.get("system"), *(turn.get("content") for turn in body["messages"])):
        for block in content if isinstance(content, list) else ():
            yield block, False
            inner = block.get("content") if block.get("type") == "tool_result" else None
            for nested in inner if isinstance(inner, list) else ():
                yield nested, True


def _is_kept(block: Mapping[str, Any]) -> bool:
    source = block.get("source")
    return isinstance(source, dict) and source.get("type") == "file"
