"""Anthropic's dialect at our door: a request body becomes a ``Chat``, a ``Reply`` and its pieces become theirs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.api.wire.anthropic_calls import CallOrder
from gateway.api.wire.anthropic_own import is_own, native_only, refuse_house, signed_only, unmapped
from gateway.api.wire.fields import of_kind
from gateway.api.wire.request_headers import of_anthropic
from gateway.api.wire.tool_results import tool_result
from gateway.errors import NotSupported, ValidationFailed
from gateway.models.call_signatures import signatures_of, signed_id, split_id
from gateway.models.llm_models import (
    Chat,
    Delta,
    FinishReason,
    ImagePart,
    Message,
    Part,
    Reply,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolUsePart,
    Usage,
)

_STOP: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_use": "tool_use",
    "content_filter": "refusal",
}
_OWN_STOPS = frozenset(
    {"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"}
)
_READ = frozenset(
    {"model", "messages", "max_tokens", "system", "temperature", "top_p", "stop_sequences", "stream", "tools"}
    | {"tool_choice", "metadata", "thread"}
)
_EXTRA = frozenset(
    {"top_k", "thinking", "service_tier", "container", "mcp_servers", "context_management", "output_config"}
    | {"cache_control", "inference_geo", "speed", "diagnostics", "compaction"}
)


class AnthropicRequest(msgspec.Struct, frozen=True):
    """A decoded request."""

    chat: Chat
    stream: bool


def decode(body: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})) -> AnthropicRequest:
    """``ValidationFailed`` names the field. Fields that nobody knows are refused by name. ``headers`` are the
    request's, by their names in lower case."""
    for name in body:
        if name not in _READ and name not in _EXTRA:
            refuse_house(name, body[name])
    given, body = body, signed_only(body)
    if body.get("thread") is not None:
        # Anthropic's SDKs know this code: they go on by sending the whole conversation with each call.
        raise NotSupported(
            "thread: conversations are not kept here",
            mend="send the whole conversation",
            param="thread",
            error_code="thread_unsupported_request",
            unsupported=["thread"],
        )
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ValidationFailed("model: a text is expected", param="model")
    max_tokens = body.get("max_tokens")
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or not 1 <= max_tokens <= 10**7:
        raise ValidationFailed("max_tokens: a whole number from 1 is expected", param="max_tokens")
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        raise ValidationFailed("stop_sequences: a list of texts is expected", param="stop_sequences")
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise ValidationFailed("stream: true or false is expected", param="stream")
    of_kind(body, {"metadata": dict, "thinking": dict}, "")
    metadata = body.get("metadata") or {}
    of_kind(metadata, {"user_id": str}, "metadata")
    system = _parts(body.get("system"), "system")
    turns = _messages(body.get("messages"))
    chat = Chat(
        model=model,
        messages=(Message("system", system), *turns) if system else turns,
        max_tokens=max_tokens,
        temperature=_number(body, "temperature"),
        top_p=_number(body, "top_p"),
        stop=tuple(stops),
        tools=_tools(body.get("tools")),
        tool_choice=_tool_choice(body.get("tool_choice")),
        response_format=_response_format(body.get("output_config")),
        reasoning_effort=_effort(body.get("output_config")),
        user=metadata.get("user_id") or "",
        dialect="anthropic",
        extra={
            name: value
            for name, value in body.items()
            if name in _EXTRA and value is not None and name != "output_config"
        },
        native=dict(body),
        native_only=native_only(body),
        unmapped=(*unmapped(body), *signatures_of(turns), *(("thinking",) if body is not given else ())),
        headers=of_anthropic(headers),
    )
    return AnthropicRequest(chat, stream)


def _response_format(raw: Any) -> ResponseFormat | None:
    """``output_config.format``: an answer held to a JSON schema."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise ValidationFailed("output_config: an object is expected", param="output_config")
    of_kind(raw, {"effort": str}, "output_config")
    form = raw.get("format")
    if form is None:
        return None
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise ValidationFailed(
            "output_config.format: type json_schema with a schema is expected", param="output_config.format"
        )
    return ResponseFormat("json_schema", schema=form["schema"], strict=True)


def _effort(raw: Any) -> str:
    effort = raw.get("effort") if isinstance(raw, dict) else None
    return effort if isinstance(effort, str) else ""


def encode_reply(reply: Reply, model: str, name: str) -> dict[str, Any]:
    """A ``message``. What a provider of this dialect answered goes on whole: citations, signatures, tiers."""
    if reply.native is not None and reply.native.dialect == "anthropic" and reply.native.event is not None:
        return {**reply.native.event, "model": model}
    choice = reply.choices[0]
    return {
        "id": reply.id or name,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [_block(part) for part in choice.parts],
        "stop_reason": _stop(choice.finish, choice.raw_finish),
        "stop_sequence": choice.stop_sequence or None,
        "usage": encode_usage(reply.usage),
    }


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage as Anthropic counts: input without cache."""
    return {
        "input_tokens": max(usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens, 0),
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
    }


class EventEncoder:
    """Pieces of one stream as named events; one content block after another."""

    def __init__(self, model: str, name: str) -> None:
        self._model = model
        self._name = name
        self._begun = False
        self._index = -1
        self._open = ""
        self._ended = False
        self._calls = CallOrder()
        self._usage = Usage()
        self._stop: tuple[str, str | None] | None = None

    def encode(self, delta: Delta) -> list[dict[str, Any]]:
        """The events of one piece."""
        events: list[dict[str, Any]] = []
        if delta.usage is not None:
            self._usage = delta.usage
        if delta.native is not None and delta.native.dialect == "anthropic":
            return [] if delta.native.event is None else self._own(delta.native.event)
        if delta.choice != 0:
            return events
        if not self._begun:
            self._name = delta.id or self._name
            events.append(self._start())
        if delta.thinking or delta.text or (delta.signature and delta.tool_index is None):
            events += self._told(self._calls.rest())
        if delta.thinking:
            events += self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            events.append(self._piece({"type": "thinking_delta", "thinking": delta.thinking}))
        if delta.signature and delta.tool_index is None:
            events += self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            events.append(self._piece({"type": "signature_delta", "signature": delta.signature}))
        if delta.text:
            events += self._ensure("text", {"type": "text", "text": ""})
            events.append(self._piece({"type": "text_delta", "text": delta.text}))
        if delta.tool_index is not None:
            events += self._told(self._calls.feed(delta))
        if delta.finish is not None:
            events += self._told(self._calls.rest())
            self._stop = (_stop(delta.finish, delta.raw_finish), delta.stop_sequence or None)
        return events

    def _told(self, calls: list[Delta]) -> list[dict[str, Any]]:
        """The events of pieces of tool calls."""
        events: list[dict[str, Any]] = []
        for call in calls:
            name = signed_id(call.tool_id, call.signature)
            block = {"type": "tool_use", "id": name, "name": call.tool_name, "input": {}}
            events += self._ensure(f"tool{call.tool_index}", block)
            if call.arguments:
                events.append(self._piece({"type": "input_json_delta", "partial_json": call.arguments}))
        return events

    def _own(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """A provider's event of this dialect as it stands, but for the model's name."""
        self._ended = self._ended or event.get("type") == "message_stop"
        message = event.get("message")
        if event.get("type") == "message_start" and isinstance(message, dict):
            self._begun = True
            return [{**event, "message": {**message, "model": self._model}}]
        return [event] if isinstance(event.get("type"), str) else []

    def end(self, usage: Usage) -> list[dict[str, Any]]:
        """What closes the message, where the provider has not done so itself."""
        if self._ended:
            return []
        reason, sequence = self._stop or ("end_turn", None)
        counted = encode_usage(usage if self._usage.basis == "none" else self._usage)
        return [
            *([] if self._begun else [self._start()]),
            *self._close(),
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence}, "usage": counted},
            {"type": "message_stop"},
        ]

    def _start(self) -> dict[str, Any]:
        self._begun = True
        message: dict[str, Any] = {
            "id": self._name,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(self._usage),
        }
        return {"type": "message_start", "message": message}

    def _ensure(self, kind: str, block: dict[str, Any]) -> list[dict[str, Any]]:
        if self._open == kind:
            return []
        events = self._close()
        self._index += 1
        self._open = kind
        return [*events, {"type": "content_block_start", "index": self._index, "content_block": block}]

    def _close(self) -> list[dict[str, Any]]:
        if not self._open:
            return []
        self._open = ""
        return [{"type": "content_block_stop", "index": self._index}]

    def _piece(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


def _stop(finish: FinishReason, raw: str) -> str:
    return raw if raw in _OWN_STOPS else _STOP[finish]


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, ToolUsePart):
        try:
            arguments = msgspec.json.decode(part.arguments or "{}")
        except msgspec.DecodeError:
            arguments = {}
        name = signed_id(part.id, part.signature)
        return {"type": "tool_use", "id": name, "name": part.name, "input": arguments}
    if isinstance(part, ThinkingPart):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    return {"type": "text", "text": part.text if isinstance(part, TextPart) else ""}


def _messages(raw: Any) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise ValidationFailed("messages: a list of at least one message is expected", param="messages")
    messages = []
    for at, item in enumerate(raw):
        place = f"messages[{at}]"
        role = item.get("role") if isinstance(item, dict) else None
        if role not in ("user", "assistant", "system"):
            raise ValidationFailed(f"{place}.role: user, assistant or system is expected", param=f"{place}.role")
        messages.append(Message(role, _parts(item.get("content"), f"{place}.content")))
    return tuple(messages)


def _parts(raw: Any, place: str) -> tuple[Part, ...]:
    if raw is None:
        return ()
    if isinstance(raw, str):
        return (TextPart(raw),) if raw else ()
    if not isinstance(raw, list):
        raise ValidationFailed(f"{place}: a text or a list of blocks is expected", param=place)
    parts = (_part(item, f"{place}[{at}]") for at, item in enumerate(raw))
    return tuple(part for part in parts if part is not None)


def _part(raw: Any, place: str) -> Part | None:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if is_own(raw):
        return None
    if kind == "text" and isinstance(raw.get("text"), str):
        return TextPart(raw["text"])
    if kind == "image" and isinstance(raw.get("source"), dict):
        source = raw["source"]
        if source.get("type") == "base64":
            data, media_type = (_text(source, name, f"{place}.source") for name in ("data", "media_type"))
            return ImagePart(data=data, media_type=media_type)
        if source.get("type") == "url":
            return ImagePart(url=_text(source, "url", f"{place}.source"))
    if kind == "tool_use" and isinstance(raw.get("id"), str) and isinstance(raw.get("name"), str):
        of_kind(raw, {"input": dict}, place)
        name, signature = split_id(raw["id"])
        return ToolUsePart(name, raw["name"], msgspec.json.encode(raw.get("input") or {}).decode(), signature)
    if kind == "tool_result" and isinstance(raw.get("tool_use_id"), str):
        inner = _parts(raw.get("content"), f"{place}.content")
        return tool_result(split_id(raw["tool_use_id"])[0], inner, "\n\n", is_error=bool(raw.get("is_error")))
    if kind == "thinking" and isinstance(raw.get("thinking"), str):
        return ThinkingPart(raw["thinking"], str(raw.get("signature") or ""))
    raise ValidationFailed(
        f"{place}: a block of type text, image, tool_use, tool_result or thinking is expected", param=place
    )


def _text(source: Mapping[str, Any], name: str, place: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise ValidationFailed(f"{place}.{name}: a text is expected", param=f"{place}.{name}")
    return value


def _tools(raw: Any) -> tuple[Tool, ...]:
    if raw is not None and not isinstance(raw, list):
        raise ValidationFailed("tools: a list is expected", param="tools")
    tools = []
    for at, item in enumerate(raw or ()):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ValidationFailed(f"tools[{at}]: a tool with name and input_schema is expected", param=f"tools[{at}]")
        if item.get("type") not in (None, "custom"):
            continue  # a tool that the provider runs itself: only its own dialect knows it
        of_kind(item, {"description": str, "input_schema": dict, "strict": bool}, f"tools[{at}]")
        tools.append(
            Tool(item["name"], item.get("description") or "", item.get("input_schema") or {}, item.get("strict"))
        )
    return tuple(tools)


def _tool_choice(raw: Any) -> ToolChoice | None:
    if raw is None:
        return None
    kind = raw.get("type") if isinstance(raw, dict) else None
    parallel = False if isinstance(raw, dict) and raw.get("disable_parallel_tool_use") else None
    if kind in ("auto", "none"):
        return ToolChoice(kind, parallel=parallel)
    if kind == "any":
        return ToolChoice("required", parallel=parallel)
    if kind == "tool" and isinstance(raw.get("name"), str):
        return ToolChoice("tool", raw["name"], parallel)
    raise ValidationFailed("tool_choice.type: auto, any, tool or none is expected", param="tool_choice")


def _number(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValidationFailed(f"{name}: a number from 0 to 1 is expected", param=name)
    return value
