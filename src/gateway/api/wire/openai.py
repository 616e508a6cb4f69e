"""OpenAI's dialect at our door: a request body becomes a ``Chat``, a ``Reply`` and its pieces become theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.api.wire.fields import image, number_value, text_value, whole_value
from gateway.api.wire.request_headers import of_openai
from gateway.errors import ValidationFailed
from gateway.ids import new_id
from gateway.models.call_signatures import extra_content, signature_in, signatures_of
from gateway.models.llm_models import (
    Chat,
    Choice,
    Delta,
    FinishReason,
    Message,
    Part,
    Reply,
    ResponseFormat,
    Role,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Usage,
)

_FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
}
#: Fields that only an OpenAI-style provider understands: carried there, reported elsewhere, …
_EXTRA = frozenset(
    {"logprobs", "top_logprobs", "logit_bias", "metadata", "store", "service_tier", "prediction", "modalities"}
    | {"audio", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "verbosity", "web_search_options"}
    | {"functions", "function_call", "moderation", "prompt_cache_options"}
)
#: … but for those, and those parts of a turn, that the answer depends on: refused elsewhere.
_NATIVE_ONLY = ("logprobs", "top_logprobs", "logit_bias", "audio", "web_search_options", "functions", "moderation")
_NATIVE_PARTS = ("input_audio", "file")
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
        elif name not in _EXTRA:
            raise ValidationFailed(
                f"{name[:100]}: no such parameter", mend="see the chat completions API", param=name[:100]
            )
        elif value is not None:
            extra[name] = value
    messages, plain = _messages(body.get("messages"))
    said["messages"] = messages
    if not said.get("model"):
        raise ValidationFailed("model: a text is expected", param="model")
    stream, options = said.pop("stream", False), said.pop("stream_options", None)
    if "max_completion_tokens" in said:
        said["max_tokens"] = said.pop("max_completion_tokens")
    if "tool_choice" in said or "parallel_tool_calls" in said:
        said["tool_choice"] = _tool_choice(body)
        said.pop("parallel_tool_calls", None)
    chat = Chat(
        dialect="openai",
        extra=extra,
        native=dict(body),
        native_only=() if plain and not extra else _native_only(body),
        unmapped=() if plain else _unmapped(body, messages),
        headers=of_openai(headers),
        relay=relay,
        **said,
    )
    return OpenAIRequest(chat, stream, bool(options and options.get("include_usage")))


def _unmapped(body: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[str, ...]:
    named = ("messages.name",) if any("name" in turn for turn in body["messages"]) else ()
    return named + signatures_of(messages)


def _native_only(body: Mapping[str, Any]) -> tuple[str, ...]:
    names = [name for name in _NATIVE_ONLY if body.get(name) not in (None, False)]
    names += ["modalities"] if body.get("modalities") not in (None, ["text"]) else []
    for turn in body["messages"]:
        content = turn.get("content")
        parts = content if isinstance(content, list) else ()
        names += [part["type"] for part in parts if part.get("type") in _NATIVE_PARTS]
    return tuple(dict.fromkeys(names))


def encode_relayed(reply: Reply, model: str) -> dict[str, Any] | bytes:
    """As ``encode_reply``; the answer of a chat with ``relay`` may be there as it is to be sent."""
    native = reply.native
    return native.lines if native is not None and native.lines else encode_reply(reply, model)


def encode_reply(reply: Reply, model: str) -> dict[str, Any]:
    """A ``chat.completion``. ``model`` as the caller named it; it has an id of ours where the provider gave none.

    What a provider of this dialect answered goes on whole: log probabilities, refusals, annotations.
    """
    name = reply.id or new_id("chatcmpl")
    if reply.native is not None and reply.native.dialect == "openai" and reply.native.event is not None:
        own = {
            "id": name,
            "object": "chat.completion",
            "created": reply.created or int(time.time()),
            **reply.native.event,
        }
        return {**own, "model": model, "usage": own.get("usage") or encode_usage(reply.usage)}
    return {
        "id": name,
        "object": "chat.completion",
        "created": reply.created or int(time.time()),
        "model": model,
        "choices": [_choice(item, at) for at, item in enumerate(reply.choices)],
        "usage": encode_usage(reply.usage),
    }


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage as OpenAI counts."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class ChunkEncoder:
    """Pieces of one stream as ``chat.completion.chunk``s; the first of each choice names the role."""

    def __init__(self, model: str, name: str, *, include_usage: bool, created: int = 0) -> None:
        self._model = model
        self._name = name
        self._created = created or int(time.time())
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self._usage: Usage | None = None

    def encode(self, delta: Delta) -> list[dict[str, Any]]:
        """The chunks of one piece."""
        if delta.usage is not None:
            self._usage = delta.usage
        if delta.native is not None and delta.native.dialect == "openai":
            if delta.native.lines:
                self._name = delta.id
            return [] if delta.native.event is None else self._own(delta.native.event)
        content: dict[str, Any] = {}
        if delta.text:
            content["content"] = delta.text
        if delta.thinking:
            content["reasoning_content"] = delta.thinking
        if delta.tool_index is not None:
            function: dict[str, Any] = {"arguments": delta.arguments}
            call: dict[str, Any] = {"index": delta.tool_index}
            if delta.tool_id:
                call |= {"id": delta.tool_id, "type": "function"}
                function["name"] = delta.tool_name
            content["tool_calls"] = [{**call, "function": function, **extra_content(delta.signature)}]
        self._name = delta.id or self._name
        if not content and delta.finish is None:
            return []
        chunks = []
        if delta.choice not in self._begun:
            self._begun.add(delta.choice)
            chunks.append(self._chunk([_delta(delta.choice, {"role": "assistant", "content": ""})]))
        if content:
            chunks.append(self._chunk([_delta(delta.choice, content)]))
        if delta.finish is not None:
            chunks.append(self._chunk([_delta(delta.choice, {}, _FINISH[delta.finish])]))
        return chunks

    def _own(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """A provider's chunk of this dialect as it stands, but for the model's name; its usage comes at
        the end, where it was asked for."""
        chunk = {**event, "model": self._model}
        chunk.setdefault("object", "chat.completion.chunk")
        chunk.setdefault("created", self._created)
        self._name = chunk.setdefault("id", self._name)
        chunk.pop("usage", None)
        if self._include_usage:
            chunk["usage"] = None
        return [chunk] if chunk.get("choices") else []

    def end(self, usage: Usage) -> list[dict[str, Any]]:
        """The chunk with the usage, where it was asked for."""
        if not self._include_usage:
            return []
        return [{**self._chunk([]), "usage": encode_usage(self._usage or usage)}]

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk: dict[str, Any] = {
            "id": self._name,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        if self._include_usage:
            chunk["usage"] = None
        return chunk


def _delta(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _choice(choice: Choice, at: int) -> dict[str, Any]:
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        | extra_content(part.signature)
        for part in choice.parts
        if isinstance(part, ToolUsePart)
    ]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text() or (None if calls else ""),
        "refusal": None,
    }
    thinking = "".join(part.text for part in choice.parts if isinstance(part, ThinkingPart))
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"index": at, "message": message, "logprobs": None, "finish_reason": _FINISH[choice.finish]}


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
        return Message("assistant", (*parts, *_calls(raw.get("tool_calls"), f"{place}.tool_calls")))
    if role == "tool":
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        name = raw.get("tool_call_id")
        if not isinstance(name, str):
            raise ValidationFailed(f"{place}.tool_call_id: a text is expected", param=f"{place}.tool_call_id")
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


def _calls(raw: Any, place: str) -> tuple[ToolUsePart, ...]:
    calls = []
    for at, item in enumerate(raw or ()):
        function = item.get("function") if isinstance(item, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or not isinstance(item.get("id"), str)
        ):
            raise ValidationFailed(
                f"{place}[{at}]: a function call with id, name and arguments is expected", param=place
            )
        arguments = str(function.get("arguments") or "{}")
        calls.append(ToolUsePart(item["id"], function["name"], arguments, signature_in(item)))
    return tuple(calls)


def _tools(raw: Any, name: str) -> tuple[Tool, ...]:
    tools = []
    if not isinstance(raw, list):
        raise ValidationFailed(f"{name}: a list is expected", param=name)
    for at, item in enumerate(raw):
        function = item.get("function") if isinstance(item, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValidationFailed(f"tools[{at}]: a function with a name is expected", param=f"tools[{at}]")
        tools.append(
            Tool(
                function["name"],
                function.get("description") or "",
                function.get("parameters") or {},
                function.get("strict"),
            )
        )
    return tuple(tools)


def _tool_choice(body: Mapping[str, Any]) -> ToolChoice | None:
    raw, parallel = body.get("tool_choice"), body.get("parallel_tool_calls")
    if raw is None:
        return None if parallel is None else ToolChoice("auto", parallel=bool(parallel))
    if raw in ("auto", "none", "required"):
        return ToolChoice(raw, parallel=parallel)
    if isinstance(raw, dict) and isinstance(raw.get("function"), dict) and isinstance(raw["function"].get("name"), str):
        return ToolChoice("tool", raw["function"]["name"], parallel)
    raise ValidationFailed("tool_choice: auto, none, required or a function is expected", param="tool_choice")


def _response_format(raw: Any, name: str) -> ResponseFormat:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind in ("text", "json_object"):
        return ResponseFormat(kind)
    if kind == "json_schema" and isinstance(raw.get("json_schema"), dict):
        given = raw["json_schema"]
        return ResponseFormat("json_schema", given.get("name") or "", given.get("schema") or {}, given.get("strict"))
    raise ValidationFailed(f"{name}.type: text, json_object or json_schema is expected", param=name)


def _stop(raw: Any, name: str) -> tuple[str, ...]:
    return (raw,) if isinstance(raw, str) else _texts(raw, name)


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


def _texts(raw: Any, name: str) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) > 16 or not all(isinstance(item, str) for item in raw):
        raise ValidationFailed(f"{name}: a text or a list of up to 16 texts is expected", param=name)
    return tuple(raw)


#: How the fields are read that become part of the neutral chat.
_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "messages": _as_it_is,
    "model": text_value,
    "max_tokens": partial(whole_value, 1, 10**7),
    "max_completion_tokens": partial(whole_value, 1, 10**7),
    "temperature": partial(number_value, 0, 2),
    "top_p": partial(number_value, 0, 1),
    "stop": _stop,
    "seed": partial(whole_value, -(2**63), 2**63 - 1),
    "n": partial(whole_value, 1, 16),
    "presence_penalty": partial(number_value, -2, 2),
    "frequency_penalty": partial(number_value, -2, 2),
    "tools": _tools,
    "tool_choice": _as_it_is,
    "parallel_tool_calls": _as_it_is,
    "response_format": _response_format,
    "reasoning_effort": text_value,
    "user": text_value,
    "stream": _stream,
    "stream_options": _stream_options,
}
