"""The body field ``prompt`` of the doors that speak a dialect: a stored prompt's messages put into the body.

They are put there in the door's own words before the body is read: the prompt's messages first, then
the caller's. So what only a provider of that dialect understands still goes through untouched. What
the prompt's version would have of the model stands where the request says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.api.wire.anthropic import AnthropicRequest
from gateway.api.wire.openai import OpenAIRequest
from gateway.api.wire.responses import ResponsesRequest
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown
from gateway.models.llm_models import Chat, Message
from gateway.registry.prompt_ask import PromptAsk, which
from gateway.registry.prompt_labels import SplitKey
from gateway.registry.prompt_version import Rendered, response_format_of

Expand = Callable[[Mapping[str, Any], Rendered], dict[str, Any]]
_Request = TypeVar("_Request", OpenAIRequest, AnthropicRequest)
_CHAT = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop", "reasoning_effort")
#: What these dialects have no word for.
_BESIDE = ("seed", "presence_penalty", "frequency_penalty")


def asked(body: Mapping[str, Any], session: str, request_id: str) -> tuple[PromptAsk, SplitKey]:
    """The prompt that a body names, and by what its conversation is known: its session (``x-gateway-session``),
    else its user, else nothing but this request."""
    metadata = body.get("metadata")
    user = body.get("user") or (metadata.get("user_id") if isinstance(metadata, dict) else None)
    if session:
        key = SplitKey("session", session)
    elif isinstance(user, str) and user:
        key = SplitKey("user", user)
    else:
        key = SplitKey("request", request_id)
    return _read(body["prompt"]), key


def _read(raw: Any) -> PromptAsk:
    """The body field ``prompt: {id, version?, label?, variables?}`` of the doors that speak a dialect.

    A version may be a text, as OpenAI's Responses API writes it, and so may a variable be its part
    ``{type: input_text, text}``.
    """
    if not isinstance(raw, Mapping):
        raise ValidationFailed(
            "prompt: an object with an id is expected", mend='such as {"id": "…", "variables": {}}', param="prompt"
        )
    refuse_unknown(raw, ("id", "version", "label", "variables"), "prompt")
    name = raw.get("id")
    if not isinstance(name, str) or not name:
        raise ValidationFailed("prompt.id: a text is expected", param="prompt.id")
    variables = raw.get("variables")
    if isinstance(variables, Mapping):
        variables = {given: _plain(value) for given, value in variables.items()}
    version, label = which(raw.get("version"), raw.get("label"), "prompt")
    return PromptAsk(
        name, None, version, label, {} if variables is None else variables, "prompt.id", "prompt.variables"
    )


def for_chat(body: Mapping[str, Any], prompt: Rendered) -> dict[str, Any]:
    """A body of chat completions."""
    made = _begun(body, prompt)
    made["messages"] = _before([_turn(message) for message in prompt.messages], body.get("messages"))
    given = prompt.defaults.parameters
    _fill(made, {name: given[name] for name in _CHAT if name in given})
    if made.get("max_tokens") is None:
        _fill(made, {"max_completion_tokens": given.get("max_tokens")})
    _fill(made, {"response_format": prompt.defaults.response_format})
    return made


def for_responses(body: Mapping[str, Any], prompt: Rendered) -> dict[str, Any]:
    """A body of the Responses API: what the system says at the beginning becomes ``instructions``."""
    made = _begun(body, prompt)
    turns = list(prompt.messages)
    system = []
    while turns and turns[0].role == "system":
        system.append(turns.pop(0).text())
    instructions = body.get("instructions")
    if system:
        if isinstance(instructions, str) and instructions:
            system.append(instructions)
        if instructions is None or isinstance(instructions, str):
            made["instructions"] = "\n\n".join(system)
    items = [_turn(turn) for turn in turns]
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if items or given is not None:
        made["input"] = _before(items, given)
    parameters = prompt.defaults.parameters
    _fill(made, {name: parameters.get(name) for name in ("temperature", "top_p")})
    _fill(made, {"max_output_tokens": parameters.get("max_tokens")})
    if "reasoning_effort" in parameters:
        _fill_inside(made, "reasoning", "effort", parameters["reasoning_effort"])
    form = prompt.defaults.response_format
    if form is not None:
        _fill_inside(made, "text", "format", {"type": form["type"], **form.get("json_schema", {})})
    return made


def for_messages(body: Mapping[str, Any], prompt: Rendered) -> dict[str, Any]:
    """A body of Anthropic's messages: what the system says comes before the caller's ``system``."""
    made = _begun(body, prompt)
    system = "\n\n".join(turn.text() for turn in prompt.messages if turn.role == "system")
    given = body.get("system")
    if system and isinstance(given, list):
        made["system"] = [{"type": "text", "text": system}, *given]
    elif system and (given is None or isinstance(given, str)):
        made["system"] = f"{system}\n\n{given}" if given else system
    turns = [_turn(turn) for turn in prompt.messages if turn.role != "system"]
    made["messages"] = _before(turns, body.get("messages"))
    parameters = prompt.defaults.parameters
    _fill(made, {name: parameters.get(name) for name in ("temperature", "top_p", "max_tokens")})
    stop = parameters.get("stop")
    _fill(made, {"stop_sequences": [stop] if isinstance(stop, str) else stop})
    if "reasoning_effort" in parameters:
        _fill_inside(made, "output_config", "effort", parameters["reasoning_effort"])
    form = prompt.defaults.response_format
    if form is not None and form["type"] == "json_schema":
        schema = {"type": "json_schema", "schema": form["json_schema"]["schema"]}
        _fill_inside(made, "output_config", "format", schema)
    return made


def completed(request: _Request, prompt: Rendered) -> _Request:
    """The request with the wishes that its dialect has no word for. Such a chat is no longer the body
    alone, so it is carried, named or refused like one of another dialect."""
    chat = request.chat
    wishes = _wishes(chat, prompt)
    if not wishes:
        return request
    return msgspec.structs.replace(request, chat=msgspec.structs.replace(chat, **wishes, native=None))


def responded(request: ResponsesRequest, prompt: Rendered) -> ResponsesRequest:
    """As ``completed``; and the response repeats which prompt it was."""
    wishes = _wishes(request.chat, prompt)
    stop = prompt.defaults.parameters.get("stop")
    if stop:
        wishes["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    note = prompt.note or {}
    echo = {**request.echo, "prompt": {"id": note.get("id"), "version": str(note.get("version"))}}
    return msgspec.structs.replace(request, chat=msgspec.structs.replace(request.chat, **wishes), echo=echo)


def _wishes(chat: Chat, prompt: Rendered) -> dict[str, Any]:
    parameters = prompt.defaults.parameters
    wishes = {name: parameters[name] for name in _BESIDE if name in parameters and getattr(chat, name) is None}
    form = prompt.defaults.response_format
    if form is not None and form["type"] == "json_object" and chat.response_format is None:
        wishes["response_format"] = response_format_of(form)
    return wishes


def _begun(body: Mapping[str, Any], prompt: Rendered) -> dict[str, Any]:
    made = {name: value for name, value in body.items() if name != "prompt"}
    if prompt.defaults.model:
        _fill(made, {"model": prompt.defaults.model})
    return made


def _before(turns: list[dict[str, Any]], given: Any) -> Any:
    """The prompt's turns and then the caller's; what is no list is left for the reader to refuse."""
    if given is None:
        return turns
    return [*turns, *given] if isinstance(given, list) else given


def _turn(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": message.text()}


def _fill(body: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is not None and body.get(name) is None:
            body[name] = value


def _fill_inside(body: dict[str, Any], name: str, inner: str, value: Any) -> None:
    outer = body.get(name)
    if outer is None or (isinstance(outer, dict) and outer.get(inner) is None):
        body[name] = {**(outer or {}), inner: value}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("type") == "input_text" and isinstance(value.get("text"), str):
        return value["text"]
    return value
