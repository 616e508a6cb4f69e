"""What the wires of other dialects than OpenAI's have in common: what cannot be carried, and turns in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gateway.errors import NotSupported
from gateway.models.llm_models import Chat, ImagePart, Message, Part, ToolResultPart, ToolUsePart


def unmapped(chat: Chat, dialect: str) -> list[str]:
    """The names of the caller's fields that ``dialect`` has no words for.

    Raises ``NotSupported`` for one that changes what the answer is.
    """
    if chat.native_only and not (chat.dialect == dialect and chat.native is not None):
        names = ", ".join(chat.native_only)
        raise NotSupported(
            f"the provider of this model has no {names}",
            mend=f"leave it out, or use a model whose provider speaks {chat.dialect}'s dialect",
            param=chat.native_only[0],
        )
    named = list(chat.unmapped)
    if chat.dialect != dialect:
        named += [*sorted(chat.extra), *chat.headers]
    return named


def answer_schema(chat: Chat) -> dict[str, Any] | None:
    """The schema that a forced tool holds the answer to; ``None`` where none is asked for.

    Raises ``NotSupported`` where the tool would not be exactly that: beside other tools, for a schema of
    anything but objects (a tool's input is one), and for JSON without a schema.
    """
    asked = chat.response_format
    if asked is None or asked.kind == "text":
        return None
    if asked.kind == "json_object":
        mend = "give a schema: response_format of type json_schema"
        raise NotSupported("this model has no JSON mode without a schema", mend=mend, param="response_format")
    if chat.tools or any(isinstance(part, ToolUsePart) for turn in chat.messages for part in turn.parts):
        mend = "leave one of the two out"
        raise NotSupported("this model takes a response_format or tools, not both", mend=mend, param="response_format")
    if asked.schema.get("type", "object") != "object":
        mend = "give a schema of type object, with what is asked as one of its properties"
        raise NotSupported("this model answers in JSON objects only", mend=mend, param="response_format")
    return {"type": "object", **asked.schema}


def is_forced(chat: Chat | None) -> bool:
    """Whether a call of ``llm_models.ANSWER_TOOL`` is the answer: one of the caller's own tools may have that name,
    but then no answer is forced. Where nobody knows the ``chat`` any more, it is."""
    return chat is None or (chat.response_format is not None and not chat.tools)


def begun_answer(chat: Chat) -> list[str]:
    """``prefill`` where an Anthropic-style call begins the answer itself, for dialects in which the last turn of the
    assistant is an earlier answer like any other."""
    begun = chat.dialect == "anthropic" and bool(chat.messages) and chat.messages[-1].role == "assistant"
    return ["prefill"] if begun else []


def is_detailed(parts: Iterable[Part]) -> bool:
    """Whether the caller says how closely an image is to be looked at."""
    return any(
        image.detail
        for part in parts
        for image in (part.images if isinstance(part, ToolResultPart) else (part,))
        if isinstance(image, ImagePart)
    )


def result_blocks(
    part: ToolResultPart, text: dict[str, Any], image: Callable[[ImagePart], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The content of a tool's result in its order: its ``text``, where it says anything, and its images."""
    images = [image(shown) for shown in part.images]
    texts = [text] if part.content.strip() or not images else []
    return [*images, *texts] if part.images_first else [*texts, *images]


def refuse_shown_results(chat: Chat) -> None:
    """``NotSupported`` where a tool gave back images: for providers whose tools' results are text alone."""
    parts = (part for turn in chat.messages for part in turn.parts)
    if any(isinstance(part, ToolResultPart) and part.images for part in parts):
        raise NotSupported(
            "the provider of this model takes no images in tools' results",
            mend="send the image in a user's turn, or use a model of Anthropic, of Bedrock or of Gemini from 3 on",
            param="messages",
        )


def turns_of(messages: tuple[Message, ...], blocks: Callable[[Message], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """User and assistant turns; results of tools are the user's, and equal roles in a row become one.

    ``NotSupported`` where nobody but the system says anything.
    """
    turns: list[dict[str, Any]] = []
    for message in messages:
        made = [] if message.role == "system" else blocks(message)
        if not made:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += made
        else:
            turns.append({"role": role, "content": made})
    if not turns:
        raise NotSupported("this model answers a user's turn, and there is none", mend="add one", param="messages")
    return turns


def arguments_of(part: ToolUsePart) -> dict[str, Any]:
    """An earlier tool call's arguments as a value. ``NotSupported`` for what is no JSON object."""
    try:
        arguments = msgspec.json.decode(part.arguments or "{}")
    except msgspec.DecodeError:
        arguments = None
    if isinstance(arguments, dict):
        return arguments
    raise NotSupported(
        "an earlier tool call's arguments are not a JSON object",
        mend="send the arguments as the model wrote them",
        param="messages",
    )
