"""How many tokens a chat has by OpenAI's published rule: frames of turns and tools around the text.

The rule is the one of OpenAI's cookbook, whose own examples are among the tests. What it leaves open
(earlier tool calls, pictures, nested schemas, …) is counted by its text and a usual frame; such a
count is not ``exact``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.models.llm_models import (
    Chat,
    ImagePart,
    Message,
    TextPart,
    Tool,
    ToolResultPart,
    ToolUsePart,
)
from gateway.models.tokens import Count, TokenRule

_TURN = 3
_REPLY = 3
_NAME = 1
_PROPERTIES, _PROPERTY, _ENUM, _ENUM_ITEM, _TOOLS_END = 3, 3, -3, 3, 12
#: A picture: its fixed price in low detail, that of a square of 1024 pixels otherwise.
_IMAGE_LOW, _IMAGE = 85, 765
_CALL_FRAME = 8
#: Of what only the caller's own body has: what says how to answer, and is no input.
_NO_TOKENS = frozenset({"logprobs", "top_logprobs", "logit_bias"})


def count_chat(chat: Chat, rule: TokenRule, count: Count) -> tuple[int, bool]:
    """Tokens of the input, and whether the count is exact."""
    tokens, exact = count_frame(chat, rule, count)
    for message in chat.messages:
        own, sure = count_turn(message, count)
        tokens += own
        exact = exact and sure
    return tokens, exact


def count_turn(message: Message, count: Count) -> tuple[int, bool]:
    """Tokens of one turn with its frame."""
    texts = [part.text for part in message.parts if isinstance(part, TextPart)]
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    tokens = 0
    exact = len(message.parts) == len(texts) <= 1
    for result in results:
        tokens += _TURN + count("tool") + count(result.content) + _IMAGE * len(result.images)
    if len(results) < len(message.parts) or not message.parts:
        tokens += _TURN + count(message.role) + count("".join(texts))
    for part in message.parts:
        if isinstance(part, ToolUsePart):
            tokens += _CALL_FRAME + count(part.name) + count(part.arguments)
        elif isinstance(part, ImagePart):
            tokens += _IMAGE_LOW if part.detail == "low" else _IMAGE
        elif not isinstance(part, TextPart | ToolResultPart):
            tokens += count(part.text)
    return tokens, exact


def count_frame(chat: Chat, rule: TokenRule, count: Count) -> tuple[int, bool]:
    """Tokens of all that is no turn: names, tools, the form of the answer, the beginning of the reply."""
    tokens, exact = _REPLY, rule.published
    for name in _names(chat):
        tokens += count(name) + _NAME
    if chat.tools:
        tokens += _TOOLS_END
        for tool in chat.tools:
            own, sure = _tool(tool, rule, count)
            tokens += own
            exact = exact and sure
    if chat.tool_choice is not None and chat.tool_choice.mode in ("required", "tool"):
        exact = False
    if chat.response_format is not None and chat.response_format.kind != "text":
        tokens += count(_text(chat.response_format.schema))
        exact = False
    if not _NO_TOKENS.issuperset(chat.native_only):
        tokens += len(str(chat.native)) // 4
        exact = False
    return tokens, exact


def _names(chat: Chat) -> list[str]:
    """Names of speakers, which only OpenAI's own body has."""
    if chat.dialect != "openai" or chat.native is None:
        return []
    return [turn["name"] for turn in chat.native.get("messages", ()) if isinstance(turn.get("name"), str)]


def _tool(tool: Tool, rule: TokenRule, count: Count) -> tuple[int, bool]:
    tokens = rule.tool_start + count(f"{tool.name}:{tool.description.removesuffix('.')}")
    properties = tool.schema.get("properties")
    if not properties:
        return tokens, not tool.schema.keys() - {"type", "properties", "required", "additionalProperties"}
    if not _is_flat(properties):
        return tokens + count(_text(tool.schema)), False
    tokens += _PROPERTIES
    for name, about in properties.items():
        tokens += _PROPERTY
        if "enum" in about:
            tokens += _ENUM + sum(_ENUM_ITEM + count(item) for item in about["enum"])
        tokens += count(f"{name}:{about['type']}:{about['description'].removesuffix('.')}")
    return tokens, True


def _is_flat(properties: Any) -> bool:
    """Whether the published rule speaks of such properties: each with a type and a description."""
    return isinstance(properties, Mapping) and all(
        isinstance(about, Mapping)
        and isinstance(about.get("type"), str)
        and isinstance(about.get("description"), str)
        and isinstance(about.get("enum", []), list)
        and all(isinstance(item, str) for item in about.get("enum", []))
        and not about.keys() - {"type", "description", "enum"}
        for about in properties.values()
    )


def _text(schema: Any) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), default=str)
