"""A chat as the input of OpenAI's Responses API, whose counter of tokens takes nothing else. Pure.

https://platform.openai.com/docs/api-reference/responses/input-tokens
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.models.llm_models import Chat, ImagePart, Message, TextPart, ToolResultPart, ToolUsePart
from gateway.providers.carrying import refuse_shown_results, unmapped


def encode(chat: Chat, upstream_model: str) -> bytes:
    """The body that asks for the count: all that is input, without how it is to be answered.

    Raises ``NotSupported`` for what that API has no words for.
    """
    unmapped(chat, "openai")
    refuse_shown_results(chat)  # the chat itself could not be sent either
    body: dict[str, Any] = {
        "model": upstream_model,
        "input": [item for turn in chat.messages for item in _items(turn)],
    }
    if chat.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema or {"type": "object", "properties": {}},
                "strict": bool(tool.strict),  # true without a word there, false at the door of chats
            }
            for tool in chat.tools
        ]
        choice = chat.tool_choice
        if choice is not None:
            named = {"type": "function", "name": choice.name}
            body["tool_choice"] = named if choice.mode == "tool" else choice.mode
    if chat.reasoning_effort:
        body["reasoning"] = {"effort": chat.reasoning_effort}
    form = chat.response_format
    if form is not None and form.kind == "json_object":
        body["text"] = {"format": {"type": "json_object"}}
    elif form is not None and form.kind == "json_schema":
        schema = {"type": "json_schema", "name": form.name or "answer", "schema": form.schema}
        body["text"] = {"format": {**schema, "strict": bool(form.strict)}}
    return msgspec.json.encode(body)


def _items(turn: Message) -> list[dict[str, Any]]:
    """The items of one turn in their order: results of tools first, calls of tools last, as models write them."""
    items: list[dict[str, Any]] = [
        {"type": "function_call_output", "call_id": part.id, "output": part.content}
        for part in turn.parts
        if isinstance(part, ToolResultPart)
    ]
    kind = "output_text" if turn.role == "assistant" else "input_text"
    content: list[dict[str, Any]] = []
    for part in turn.parts:
        if isinstance(part, TextPart):
            content.append({"type": kind, "text": part.text})
        elif isinstance(part, ImagePart):
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            content.append({"type": "input_image", "image_url": url, "detail": part.detail or "auto"})
    if content:
        items.append({"type": "message", "role": turn.role, "content": content})
    items += [
        {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
        for part in turn.parts
        if isinstance(part, ToolUsePart)
    ]
    return items
