"""A request in OpenAI's dialect: its body becomes a ``Chat``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.api.wire.fields import image, number_value, of_kind, plain_name, stop_value, text_value, whole_value
from gateway.api.wire.openai_tools import called_once, calls_of, is_custom, tool_choice, tools_of
from gateway.api.wire.request_headers import of_openai
from gateway.errors import ValidationFailed
from gateway.models.call_signatures import signatures_of
from gateway.models.llm_models import (
    Chat,
    Message,
    Part,
    ResponseFormat,
    Role,
    TextPart,
    ToolResultPart,
)
from gateway.models.server_fields import SERVER_FIELDS

#: Fields that only an OpenAI-style provider understands: carried there, reported elsewhere, …
_EXTRA = frozenset(
    {"logprobs", "top_logprobs", "logit_bias", "metadata", "store", "service_tier", "prediction", "modalities"}
    | {"audio", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "verbosity", "web_search_options"}
    | {"functions", "function_call", "moderation", "prompt_cache_options"}
)
#: Of them, those that ask for nothing where they are empty; search without options is a search.
_EMPTY_IS_NOTHING = frozenset({"logit_bias", "functions", "metadata"})
#: … but for those, and those parts of a turn, that the answer depends on: refused elsewhere.
_NATIVE_ONLY = ("logprobs", "top_logprobs", "logit_bias", "audio", "web_search_options", "functions", "moderation")
_NATIVE_PARTS = ("input_audio", "file")
#: Fields of a turn that the neutral chat has, or that are refused elsewhere.
_TURN = frozenset({"role", "content", "refusal", "tool_calls", "tool_call_id", "function_call", "audio"})
_PLAIN_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class OpenAIRequest(msgspec.Struct, frozen=True):
    """A decoded request: the chat, whether it is to be streamed, and whether usage is wanted at the end."""

    chat: Chat
    stream: bool
    include_usage: bool


def decode(
    body: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({}), *, relay: bool = False
) -> OpenAIRequest:
    """``ValidationFailed`` names the field. Fields that nobody knows are refused by name. ``headers`` are the
    request's, by their names in lower case; ``relay`` see ``Chat.relay``."""
    said: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in body.items():
        read = _READERS.get(name)
        if read is not None:
            if value is not None:
                said[name] = read(value, name)
        elif name not in _EXTRA and name not in SERVER_FIELDS:
            raise ValidationFailed(
                f"{name[:100]}: no such parameter", mend="see the chat completions API", param=name[:100]
            )
        elif value is not None and (value or name not in _EMPTY_IS_NOTHING):
            extra[name] = value
    messages, plain = _messages(body.get("messages"))
    said["messages"] = messages
    if not said.get("model"):
        raise ValidationFailed("model: a text is expected", param="model")
    stream, options = said.pop("stream", False), said.pop("stream_options", None)
    if "max_completion_tokens" in said:
        said["max_tokens"] = said.pop("max_completion_tokens")
    if "tool_choice" in said or "parallel_tool_calls" in said:
        said["tool_choice"] = tool_choice(body)
        said.pop("parallel_tool_calls", None)
    chat = Chat(
        dialect="openai",
        extra=extra,
        native=dict(body),
        native_only=() if plain and not extra and "tools" not in said else _native_only(body),
        unmapped=() if plain else _unmapped(body, messages),
        headers=of_openai(headers),
        relay=relay,
        **said,
    )
    return OpenAIRequest(chat, stream, bool(options and options.get("include_usage")))


def _unmapped(body: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[str, ...]:
    """What turns have beside what every dialect has: who speaks, and the thinking of earlier turns."""
    named = {name for turn in body["messages"] for name in turn if name not in _TURN and turn[name] is not None}
    return (*sorted(f"messages.{plain_name(name)}" for name in named), *signatures_of(messages))


def _native_only(body: Mapping[str, Any]) -> tuple[str, ...]:
    said = (name for name in _NATIVE_ONLY if body.get(name) or name not in _EMPTY_IS_NOTHING)
    names = [name for name in said if body.get(name) not in (None, False)]
    names += [name for name in body if name in SERVER_FIELDS and body[name] is not None]
    names += ["tools.custom"] if any(is_custom(tool) for tool in body.get("tools") or ()) else []
    choice = body.get("tool_choice")
    names += [f"tool_choice.{choice['type']}"] if isinstance(choice, dict) and choice["type"] != "function" else []
    names += ["modalities"] if body.get("modalities") not in (None, ["text"]) else []
    for turn in body["messages"]:
        content = turn.get("content")
        parts = content if isinstance(content, list) else ()
        names += [part["type"] for part in parts if part.get("type") in _NATIVE_PARTS]
        names += ["messages.audio"] if turn.get("audio") is not None else []
        names += ["messages.function_call"] if turn.get("function_call") or turn.get("role") == "function" else []
        names += ["tools.custom"] if any(is_custom(call) for call in turn.get("tool_calls") or ()) else []
    return tuple(dict.fromkeys(names))


def _messages(raw: Any) -> tuple[tuple[Message, ...], bool]:
    """The turns, and whether each has nothing but its role and a text."""
    if not isinstance(raw, list) or not raw:
        raise ValidationFailed("messages: a list of at least one message is expected", param="messages")
    messages: list[Message] = []
    plain = True
    for at, item in enumerate(raw):
        if type(item) is dict and len(item) == 2:
            content, role = item.get("content"), item.get("role")
            if content and type(content) is str and type(role) is str and role in _PLAIN_ROLES:
                messages.append(Message(_PLAIN_ROLES[role], (TextPart(content),)))
                continue
        plain = False
        messages.append(_message(item, f"messages[{at}]"))
    return tuple(messages), plain


def _message(raw: Any, place: str) -> Message:
    if not isinstance(raw, dict):
        raise ValidationFailed(f"{place}: an object is expected", param=place)
    role = raw.get("role")
    parts = _parts(raw.get("content"), f"{place}.content")
    if role in ("system", "developer"):
        return Message("system", parts)
    if role == "user":
        return Message("user", parts)
    if role == "assistant":
        parts += (TextPart(raw["refusal"]),) if isinstance(raw.get("refusal"), str) and raw["refusal"] else ()
        calls = calls_of(raw.get("tool_calls"), f"{place}.tool_calls")
        return Message("assistant", (*parts, *calls, *called_once(raw.get("function_call"), place)))
    if role in ("tool", "function"):
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        field = "tool_call_id" if role == "tool" else "name"
        name = raw.get(field)
        if not isinstance(name, str):
            raise ValidationFailed(f"{place}.{field}: a text is expected", param=f"{place}.{field}")
        return Message("tool", (ToolResultPart(name, text),))
    raise ValidationFailed(
        f"{place}.role: one of system, developer, user, assistant, tool is expected", param=f"{place}.role"
    )


def _parts(raw: Any, place: str) -> tuple[Part, ...]:
    if raw is None:
        return ()
    if isinstance(raw, str):
        return (TextPart(raw),) if raw else ()
    if not isinstance(raw, list):
        raise ValidationFailed(f"{place}: a text or a list of parts is expected", param=place)
    parts: list[Part] = []
    for at, item in enumerate(raw):
        where = f"{place}[{at}]"
        kind = item.get("type") if isinstance(item, dict) else None
        if kind in ("text", "refusal") and isinstance(item.get(kind), str):
            parts.append(TextPart(item[kind]))
        elif kind in _NATIVE_PARTS and isinstance(item.get(kind), dict):
            continue  # goes in the body as it stands; see Chat.native_only
        elif kind == "image_url" and isinstance(item.get("image_url"), dict):
            parts.append(image(item["image_url"], where))
        else:
            raise ValidationFailed(
                f"{where}: a part of type text, image_url, input_audio or file is expected", param=where
            )
    return tuple(parts)


def _response_format(raw: Any, name: str) -> ResponseFormat:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind in ("text", "json_object"):
        return ResponseFormat(kind)
    if kind == "json_schema" and isinstance(raw.get("json_schema"), dict):
        given = raw["json_schema"]
        of_kind(given, {"name": str, "schema": dict, "strict": bool}, f"{name}.json_schema")
        return ResponseFormat("json_schema", given.get("name") or "", given.get("schema") or {}, given.get("strict"))
    raise ValidationFailed(f"{name}.type: text, json_object or json_schema is expected", param=name)


def _stream(raw: Any, name: str) -> bool:
    if raw and not isinstance(raw, bool):
        raise ValidationFailed(f"{name}: true or false is expected", param=name)
    return bool(raw)


def _stream_options(raw: Any, name: str) -> dict[str, Any]:
    if raw and not isinstance(raw, dict):
        raise ValidationFailed(f"{name}: an object is expected", param=name)
    return raw or {}


def _as_it_is(raw: Any, _name: str) -> Any:
    return raw


#: How the fields are read that become part of the neutral chat.
_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "messages": _as_it_is,
    "model": text_value,
    "max_tokens": partial(whole_value, 1, 10**7),
    "max_completion_tokens": partial(whole_value, 1, 10**7),
    "temperature": partial(number_value, 0, 2),
    "top_p": partial(number_value, 0, 1),
    "stop": stop_value,
    "seed": partial(whole_value, -(2**63), 2**63 - 1),
    "n": partial(whole_value, 1, 16),
    "presence_penalty": partial(number_value, -2, 2),
    "frequency_penalty": partial(number_value, -2, 2),
    "tools": tools_of,
    "tool_choice": _as_it_is,
    "parallel_tool_calls": _as_it_is,
    "response_format": _response_format,
    "reasoning_effort": text_value,
    "user": text_value,
    "stream": _stream,
    "stream_options": _stream_options,
}
