"""``/tokens/count``: how many tokens an input has, and what could be saved. Nothing is sent or charged."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.execute import context_of
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.workflows.chat_input import chat_of


async def count(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("model", "text", "messages", "optimise"), "")
    model = text_field(body, "model")
    if not model:
        raise ValidationFailed("model is missing", mend="GET /models lists models", param="model")
    if (body.get("text") is None) == (body.get("messages") is None):
        raise ValidationFailed("one of text and messages is expected", mend='such as {"text": "…"}', param="text")
    chats = call.services.chat
    if body.get("text") is not None:
        counted = await chats.count_text(call.caller, model, text_field(body, "text"))
        return json_response(_told(model, counted.tokens, counted.basis, counted.encoding))
    chat = _chat(model, body["messages"])
    asked = text_field(body, "optimise")
    counted = await chats.count_tokens(call.caller, chat)
    told = _told(model, counted.tokens, counted.basis, counted.encoding)
    if asked:
        told["optimised"] = await chats.preview(call.caller, chat, context_of(call, "execute"), asked)
    return json_response(told)


def _chat(model: str, messages: Any) -> Any:
    try:
        return chat_of(model, {}, {"messages": messages})
    except ValidationFailed as error:
        place = (error.param or "messages").removeprefix("input_data.")
        raise ValidationFailed(error.message.removeprefix("input_data."), mend=error.mend, param=place) from None


def _told(model: str, tokens: int, basis: str, encoding: str) -> dict[str, Any]:
    return {"model": model, "tokens": tokens, "basis": basis, "encoding": encoding or None}


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/tokens/count", "llm:execute", count, summary="Count the tokens of an input")
