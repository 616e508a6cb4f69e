"""From the ``model_config`` and ``input_data`` of tasks and ``/execute/llm`` to a ``Chat``, and back to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import ValidationFailed
from gateway.governance.validators import check_llm_parameters
from gateway.models.llm_models import Chat, Message, Reply, TextPart, Usage
from gateway.money import usd
from gateway.registry.prompt_labels import SplitKey
from gateway.registry.prompt_version import Defaults, Rendered, response_format_of
from gateway.security.access import Caller
from gateway.serving.answer import AnswerMeta
from gateway.workflows.context import PromptPort
from gateway.workflows.template_input import read_template

_ROLES = ("system", "user", "assistant")


def rendered_of(data: Mapping[str, Any], caller: Caller, prompts: PromptPort, key: SplitKey) -> Rendered | None:
    """The prompt that ``input_data.template`` names, rendered; ``None`` where it names none. Blocks on the database."""
    if data.get("template") is None:
        for name in ("variables", "version", "label"):
            if data.get(name) is not None:
                place = f"input_data.{name}"
                raise ValidationFailed(f"{place}: there is no template that it belongs to", param=place)
        return None
    ask = read_template(data["template"], data.get("variables"), data.get("version"), data.get("label"))
    if ask.text is None:
        caller.require("prompts:read")
    return prompts.render(ask, key)


def chat_of(
    model: str,
    parameters: Mapping[str, Any],
    data: Mapping[str, Any],
    rendered: Rendered | None = None,
    *,
    system: str = "",
) -> Chat:
    """The chat that ``input_data`` describes: ``prompt``, ``messages``, or ``template`` with ``variables``;
    ``messages`` may follow a template. What the template's version would have stands where ``parameters`` say nothing.
    """
    given = [name for name in ("prompt", "messages", "template") if data.get(name) is not None]
    if len(given) != 1 and given != ["messages", "template"]:
        raise ValidationFailed(
            "input_data takes one of prompt, messages, template" + (f"; it has {' and '.join(given)}" if given else ""),
            mend='such as {"prompt": "…"}',
            param="input_data",
        )
    messages = () if rendered is None else rendered.messages
    if "messages" in given:
        messages = (*messages, *_messages(data["messages"]))
    elif "prompt" in given:
        text = data["prompt"]
        if not isinstance(text, str) or not text.strip():
            raise ValidationFailed("input_data.prompt: a text is expected", param="input_data.prompt")
        messages = (Message("user", (TextPart(text),)),)
    if system:
        messages = (Message("system", (TextPart(system),)), *messages)
    defaults = Defaults() if rendered is None else rendered.defaults
    checked = check_llm_parameters(dict(parameters), "model_config.parameters")
    named = defaults.parameters | {name: value for name, value in checked.items() if value is not None}
    stop = named.pop("stop", None)
    return Chat(
        model=model,
        messages=messages,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        response_format=response_format_of(defaults.response_format),
        **named,
    )


def result_of(reply: Reply, meta: AnswerMeta, rendered: Rendered | None = None) -> dict[str, Any]:
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
    if rendered is not None and rendered.note is not None:
        result["prompt"] = {"id": rendered.note["id"], "version": rendered.note["version"]}
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
