"""Bounds on what a model may be asked and may answer, the same for every door."""

from __future__ import annotations

from gateway.errors import ValidationFailed
from gateway.models.llm_models import Chat, ImagePart, TextPart, ToolResultPart, ToolUsePart
from gateway.models.server_fields import parts_of

MOST_MESSAGES = 2_000
MOST_TOOLS = 128
USUAL_SEARCHES, MOST_SEARCHES = 10, 1_000


def check_chat(chat: Chat) -> None:
    """``ValidationFailed`` for a conversation that no model can take."""
    if not chat.messages:
        raise ValidationFailed("messages: at least one message is needed", param="messages")
    if len(chat.messages) > MOST_MESSAGES:
        raise ValidationFailed(f"messages: at most {MOST_MESSAGES}", param="messages")
    if len(chat.tools) > MOST_TOOLS:
        raise ValidationFailed(f"tools: at most {MOST_TOOLS}", param="tools")
    if not chat.messages[0].parts and not chat.native_only and not any(message.parts for message in chat.messages):
        raise ValidationFailed("messages: every message is empty", param="messages")


def input_tokens_bound(chat: Chat) -> int:
    """A number of tokens that the input surely does not pass: a token is at least one byte of UTF-8.

    Framing of turns and tools is added generously; an image counts as the dearest that providers bill.
    """
    size = 16
    for message in chat.messages:
        size += 16
        for part in message.parts:
            if isinstance(part, TextPart):
                text = part.text
                size += len(text) if text.isascii() else len(text.encode())
            elif isinstance(part, ImagePart):
                size += 3_000
            elif isinstance(part, ToolUsePart):
                size += len(part.arguments.encode()) + len(part.name.encode()) + len(part.signature) + 32
            elif isinstance(part, ToolResultPart):
                size += len(part.content.encode()) + 32 + 3_000 * len(part.images)
            else:
                size += len(part.text.encode()) + len(part.signature)
    for tool in chat.tools:
        size += len(str(tool.schema)) + len(tool.description.encode()) + len(tool.name) + 64
    if chat.native_only and chat.native is not None and parts_of(chat.native_only):
        size += len(str(chat.native))  # parts that only the body itself has: documents, files, sound
    if chat.response_format is not None:
        size += len(str(chat.response_format.schema)) + 32
    return size


def has_media(chat: Chat) -> bool:
    """Whether the input may hold sound or images: what only the body itself has may be sound."""
    if chat.native_only and parts_of(chat.native_only):
        return True
    return any(
        isinstance(part, ImagePart) or (isinstance(part, ToolResultPart) and bool(part.images))
        for message in chat.messages
        for part in message.parts
    )


def searches_bound(chat: Chat) -> int:
    """The most searches of the web that the provider may run by itself; about how many, where the caller names none."""
    tools = chat.native.get("tools") if chat.native is not None and chat.dialect == "anthropic" else None
    bound = 0
    for tool in tools or ():
        if isinstance(tool, dict) and str(tool.get("type")).startswith("web_search"):
            most = tool.get("max_uses")
            bound += most if type(most) is int and 0 < most < MOST_SEARCHES else USUAL_SEARCHES
    return bound


def output_tokens_bound(asked: int | None, most: int | None) -> int:
    """The most tokens an answer may have: as asked, at most the model's own limit."""
    if asked is None:
        return 4_096 if most is None else most
    return asked if most is None else min(asked, most)
