"""From the ``model_config`` and ``input_data`` of tasks and ``/execute/llm`` to a ``Chat``, and back to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import ValidationFailed
from gateway.governance.validators import check_llm_parameters
from gateway.models.llm_models import Chat, Message, Reply, TextPart, Usage
from gateway.money import usd
from gateway.serving.answer import AnswerMeta
from gateway.workflows.context import PromptPort

_ROLES = ("system", "user", "assistant")


def chat_of(
    model: str, parameters: Mapping[str, Any], data: Mapping[str, Any], prompts: PromptPort, *, system: str = ""
) -> Chat:
    """The chat that ``input_data`` describes: ``prompt``, ``messages``, or ``template`` with ``variables``."""
    given = [name for name in ("prompt", "messages", "template") if data.get(name) is not None]
    if len(given) != 1:
        raise ValidationFailed(
            "input_data takes one of prompt, messages, template" + (f"; it has {' and '.join(given)}" if given else ""),
            mend='such as {"prompt": "…"}',
            param="input_data",
        )
    if given[0] == "messages":
        messages = _messages(data["messages"])
    else:
        text = data["prompt"] if given[0] == "prompt" else prompts.render(data["template"], data.get("variables") or {})
        if not isinstance(text, str) or not text.strip():
            raise ValidationFailed("input_data.prompt: a text is expected", param="input_data.prompt")
        messages = (Message("user", (TextPart(text),)),)
    if system:
        messages = (Message("system", (TextPart(system),)), *messages)
    checked = dict(check_llm_parameters(dict(parameters), "model_config.parameters"))
    stop = checked.pop("stop", None)
    named = {name: value for name, value in checked.items() if value is not None}
    return Chat(model=model, messages=messages, stop=(stop,) if isinstance(stop, str) else tuple(stop or ()), **named)


def result_of(reply: Reply, meta: AnswerMeta) -> dict[str, Any]:
    """The JSON result of a chat, as tasks and ``/execute/llm`` give it."""
    choice = reply.choices[0]
    result: dict[str, Any] = {
        "response": reply.text(),
        "model": meta.model,
        "provider": meta.provider,
        "upstream_model": meta.upstream_model,
        "usage": usage_json(reply.usage),
        "tokens_used": reply.usage.total_tokens,
        "cost": usd(meta.cost),
        "finish_reason": choice.finish,
        "request_id": meta.request_id,
        "config_epoch": meta.config_epoch,
    }
    if len(reply.choices) > 1:
        result["responses"] = [item.text() for item in reply.choices]
    if meta.dropped_params:
        result["dropped_params"] = list(meta.dropped_params)
    return result


def usage_json(usage: Usage) -> dict[str, Any]:
    """Usage in the field's words; ``basis`` says who counted."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens,
        "basis": usage.basis,
    }


def _messages(raw: Any) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise ValidationFailed("input_data.messages: a list of messages is expected", param="input_data.messages")
    messages = []
    for at, item in enumerate(raw):
        place = f"input_data.messages[{at}]"
        if not isinstance(item, dict) or item.get("role") not in _ROLES or not isinstance(item.get("content"), str):
            raise ValidationFailed(f"{place}: expected {{role: {' | '.join(_ROLES)}, content: text}}", param=place)
        messages.append(Message(item["role"], (TextPart(item["content"]),)))
    return tuple(messages)
