"""Every text of a request and of an answer, for whoever reads or changes texts: one walk for both.

A walk calls ``visit(text, place, role, signed)`` for each and puts what it returns in its place; where
nothing changes, the same object comes back. The caller's own body (``Chat.native``) is walked along, so
that it says the same as the neutral chat. Not texts: ids, types, names of tools and fields, signatures,
addresses, and the bytes of images, sound and files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from gateway.models.guard import GuardText, Where
from gateway.models.llm_models import (
    Chat,
    Choice,
    ImagePart,
    Message,
    Part,
    Reply,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolResultPart,
    ToolUsePart,
)

Visit = Callable[[str, str, Where, bool], str]

#: Fields of a dialect's bodies that hold no text.
_OPAQUE = frozenset(
    {"id", "type", "role", "name", "model", "signature", "data", "media_type", "tool_call_id", "tool_use_id", "detail"}
    | {"file_id", "file_data", "url", "format", "encrypted_content", "authorization_token", "service_tier", "object"}
    | {"thought_signature"}
)
#: Fields whose content is the caller's own: in it, no name says what a value is.
_FREE = frozenset({"input", "metadata", "parameters", "input_schema", "schema"})


class Found(NamedTuple):
    """A text, and whether the model signed it (a signed text may only be changed back to what it was)."""

    text: GuardText
    signed: bool


def texts_of(chat: Chat) -> list[Found]:
    """Every text in the order of the conversation; of the caller's own body only what the neutral chat lacks."""
    found: list[Found] = []

    def collect(text: str, place: str, role: Where, signed: bool) -> str:
        found.append(Found(GuardText(place, role, text), signed))
        return text

    walk_chat(chat if chat.native is None else msgspec.structs.replace(chat, native=None), collect)
    if chat.native is not None:
        seen = {(item.text.text, item.signed) for item in found}

        def collect_new(text: str, place: str, role: Where, signed: bool) -> str:
            return text if (text, signed) in seen else collect(text, place, role, signed)

        walk_json(chat.native, collect_new, "", "user", free=False)
    return found


def walk_chat(chat: Chat, visit: Visit) -> Chat:
    """The chat with each of its texts visited, in the order of the conversation."""
    changes: dict[str, Any] = {}
    system = chat.dialect == "anthropic" and chat.messages[:1] != () and chat.messages[0].role == "system"
    places = ["system" if system and at == 0 else f"messages[{at - system}]" for at in range(len(chat.messages))]
    messages = tuple(_message(turn, place, visit) for turn, place in zip(chat.messages, places, strict=True))
    _note(changes, "messages", chat.messages, messages)
    tools = tuple(_tool(tool, f"tools[{at}]", visit) for at, tool in enumerate(chat.tools))
    _note(changes, "tools", chat.tools, tools)
    if chat.response_format is not None:
        form = _form(chat.response_format, visit)
        if form is not chat.response_format:
            changes["response_format"] = form
    stop = tuple(visit(text, "stop", "other", False) for text in chat.stop)
    _note(changes, "stop", chat.stop, stop)
    if chat.user and (user := visit(chat.user, "user", "other", False)) != chat.user:
        changes["user"] = user
    for name in ("extra", "native"):
        body = getattr(chat, name)
        if body:
            fresh = walk_json(body, visit, "", "user", free=False)
            if fresh is not body:
                changes[name] = fresh
    return msgspec.structs.replace(chat, **changes) if changes else chat


def walk_reply(reply: Reply, visit: Visit) -> Reply:
    """The answer with each of its texts visited, arguments of tools as they are written; its ``native``
    is left as it is."""
    choices = tuple(_choice(choice, f"choices[{at}]", visit) for at, choice in enumerate(reply.choices))
    if all(new is old for new, old in zip(choices, reply.choices, strict=True)):
        return reply
    return msgspec.structs.replace(reply, choices=choices)


def walk_json(value: Any, visit: Visit, place: str, role: Where, *, free: bool = True, signed: bool = False) -> Any:
    """A JSON value with the texts in it visited; keys stay as they are. ``free``: it is no body of a
    dialect, so every text counts."""
    if isinstance(value, str):
        return visit(value, place, role, signed) if value else value
    if isinstance(value, dict):
        changed = None
        for key, inner in value.items():
            where = f"{place}.{key}" if place else key
            if free:
                fresh = walk_json(inner, visit, where, role)
            elif key == "arguments" and isinstance(inner, str):
                fresh = walk_json_text(inner, visit, where, role)
            elif key in _OPAQUE and isinstance(inner, str) and not _is_said(key, value):
                continue
            else:
                marked = key == "thinking" and bool(value.get("signature"))
                fresh = walk_json(inner, visit, where, role, free=key in _FREE, signed=marked)
            if fresh is not inner:
                changed = changed or dict(value)
                changed[key] = fresh
        return value if changed is None else changed
    if isinstance(value, list):
        items = [walk_json(inner, visit, f"{place}[{at}]", role, free=free) for at, inner in enumerate(value)]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def _is_said(key: str, holder: Mapping[str, Any]) -> bool:
    """The exceptions: the text of a document, and what a speaker is called."""
    return (key == "data" and holder.get("type") == "text") or (key == "name" and "role" in holder)


def walk_json_text(text: str, visit: Visit, place: str, role: Where) -> str:
    """JSON as text: the texts within it visited; what is no JSON is one text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return visit(text, place, role, False)
    fresh = walk_json(value, visit, place, role)
    return text if fresh is value else msgspec.json.encode(fresh).decode()


def images_of(chat: Chat) -> int:
    """How many images the conversation shows."""
    return sum(
        1 if isinstance(part, ImagePart) else len(part.images)
        for turn in chat.messages
        for part in turn.parts
        if isinstance(part, (ImagePart, ToolResultPart))
    )


def _note(changes: dict[str, Any], name: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> None:
    if any(fresh is not stale for fresh, stale in zip(new, old, strict=True)):
        changes[name] = new


def _message(turn: Message, place: str, visit: Visit) -> Message:
    parts = tuple(_part(part, place, turn.role, visit) for part in turn.parts)
    if all(new is old for new, old in zip(parts, turn.parts, strict=True)):
        return turn
    return Message(turn.role, parts)


def _part(part: Part, place: str, role: Where, visit: Visit) -> Part:
    if isinstance(part, TextPart):
        fresh = visit(part.text, place, role, False)
        return part if fresh is part.text else TextPart(fresh)
    if isinstance(part, ToolResultPart):
        fresh = visit(part.content, place, "tool", False)
        return part if fresh is part.content else msgspec.structs.replace(part, content=fresh)
    if isinstance(part, ToolUsePart):
        fresh = walk_json_text(part.arguments, visit, f"{place}.{part.name[:60]}", role)
        return part if fresh is part.arguments else msgspec.structs.replace(part, arguments=fresh)
    if isinstance(part, ThinkingPart):
        fresh = visit(part.text, place, role, bool(part.signature))
        return part if fresh is part.text else msgspec.structs.replace(part, text=fresh)
    return part


def _tool(tool: Tool, place: str, visit: Visit) -> Tool:
    told = visit(tool.description, f"{place}.description", "other", False)
    schema: Mapping[str, Any] = walk_json(tool.schema, visit, place, "other")
    if told is tool.description and schema is tool.schema:
        return tool
    return msgspec.structs.replace(tool, description=told, schema=schema)


def _form(form: ResponseFormat, visit: Visit) -> ResponseFormat:
    schema = walk_json(form.schema, visit, "response_format.schema", "other")
    return form if schema is form.schema else msgspec.structs.replace(form, schema=schema)


def _choice(choice: Choice, place: str, visit: Visit) -> Choice:
    parts = tuple(
        _called(part, place, visit) if isinstance(part, ToolUsePart) else _part(part, place, "assistant", visit)
        for part in choice.parts
    )
    if all(new is old for new, old in zip(parts, choice.parts, strict=True)):
        return choice
    return msgspec.structs.replace(choice, parts=parts)


def _called(part: ToolUsePart, place: str, visit: Visit) -> ToolUsePart:
    fresh = visit(part.arguments, f"{place}.{part.name[:60]}", "assistant", False)
    return part if fresh is part.arguments else msgspec.structs.replace(part, arguments=fresh)
