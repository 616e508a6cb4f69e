"""Anthropic's messages as bytes: encode a ``Chat``, decode a ``Reply`` and a stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import NotSupported, UpstreamMalformed
from gateway.models.call_signatures import NAME as SIGNATURE
from gateway.models.call_signatures import split_id
from gateway.models.llm_models import (
    ANSWER_TOOL,
    Chat,
    Choice,
    Delta,
    FinishReason,
    ImagePart,
    Native,
    Part,
    Reply,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    ToolUsePart,
    Usage,
    UsageDetail,
)
from gateway.providers.cache_marks import marked
from gateway.providers.carrying import answer_schema, arguments_of, is_detailed, result_blocks, turns_of, unmapped
from gateway.providers.lenient_json import loads
from gateway.providers.usage_counts import count_of, part_of, told

VERSION = "2023-06-01"
#: What a count of tokens depends on.
_COUNTED = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "mcp_servers"}
    | {"cache_control", "context_management"}
)
#: Tokens of thinking for an effort: the same steps as other gateways and Google's own compatibility layer.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_use",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "model_context_window_exceeded": "length",
}


def encode(chat: Chat, upstream_model: str, *, stream: bool, max_tokens: int) -> tuple[bytes, tuple[str, ...]]:
    """The request body, and the names of what could not be carried.

    ``max_tokens`` is used where the chat names none (this dialect needs one). Raises
    ``NotSupported`` for what would change the answer's meaning.
    """
    if chat.native is not None and chat.dialect == "anthropic":
        own = _native(chat, chat.native, upstream_model, stream)
        if SIGNATURE not in chat.unmapped:
            return _encoded(chat, own, upstream_model), ()
        own["messages"] = [_unsigned(turn) for turn in own["messages"]]
        return _encoded(chat, own, upstream_model), (SIGNATURE,)
    _refuse(chat)
    dropped = unmapped(chat, "anthropic")
    dropped += [name for name in ("seed", "presence_penalty", "frequency_penalty") if getattr(chat, name) is not None]
    parts = [part for message in chat.messages for part in message.parts]
    if is_detailed(parts):
        dropped.append("image_url.detail")
    if any(tool.strict for tool in chat.tools):
        dropped.append("tools.strict")
    system = [part for message in chat.messages if message.role == "system" for part in message.parts]
    body: dict[str, Any] = {
        "model": upstream_model,
        "max_tokens": chat.max_tokens or max_tokens,
        "messages": turns_of(chat.messages, lambda turn: [_block(part) for part in turn.parts]),
    }
    if system:
        body["system"] = "\n\n".join(part.text for part in system if isinstance(part, TextPart))
    for name in ("temperature", "top_p"):
        if getattr(chat, name) is not None:
            body[name] = getattr(chat, name)
    if chat.stop:
        body["stop_sequences"] = list(chat.stop)
    if chat.user:
        body["metadata"] = {"user_id": chat.user}
    if chat.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema or {"type": "object"}}
            for tool in chat.tools
        ]
        if chat.tool_choice is not None:
            body["tool_choice"] = _tool_choice(chat)
    if chat.dialect == "anthropic":
        body |= chat.extra
    if chat.reasoning_effort:
        dropped += _think(chat, body)
    schema = answer_schema(chat)
    if schema is not None:
        body["tools"] = [{"name": ANSWER_TOOL, "description": "Gives the answer.", "input_schema": schema}]
        body["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}
    if stream:
        body["stream"] = True
    return _encoded(chat, body, upstream_model), tuple(dropped)


def _encoded(chat: Chat, body: dict[str, Any], upstream_model: str) -> bytes:
    return msgspec.json.encode(body if chat.prompt_cache is None else marked(body, upstream_model))


def encode_count(chat: Chat, upstream_model: str) -> bytes:
    """The body of ``/v1/messages/count_tokens``: what is asked, without how it is to be answered."""
    body = msgspec.json.decode(encode(chat, upstream_model, stream=False, max_tokens=chat.max_tokens or 1)[0])
    return msgspec.json.encode({name: value for name, value in body.items() if name in _COUNTED})


def decode_count(content: bytes) -> int:
    """Tokens of the input. ``UpstreamError`` for an answer that is not of this shape."""
    try:
        return int(msgspec.json.decode(content)["input_tokens"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error


def _unsigned(turn: dict[str, Any]) -> dict[str, Any]:
    """The turn with the ids of its calls as their provider made them."""
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    blocks = []
    for block in content:
        ids = {name: split_id(block[name])[0] for name in ("id", "tool_use_id") if isinstance(block.get(name), str)}
        blocks.append({**block, **ids})
    return {**turn, "content": blocks}


def _native(chat: Chat, native: dict[str, Any], upstream_model: str, stream: bool) -> dict[str, Any]:
    """The caller's own body, with the model's name and the model's own parameters where it names none."""
    body = {**native, "model": upstream_model}
    for name in ("temperature", "top_p", "max_tokens"):
        value = getattr(chat, name)
        if value is not None and (body.get(name) is None or name == "max_tokens"):
            body[name] = value
    if stream:
        body["stream"] = True
    else:
        body.pop("stream", None)
    return body


def decode_reply(content: bytes, *, forced: bool = True) -> Reply:
    """The whole answer; ``forced`` see ``carrying.is_forced``. ``UpstreamError`` for one that is not of this shape."""
    try:
        raw = loads(content)
        parts = tuple(part for block in raw["content"] for part in _part(block))
        stop = str(raw.get("stop_reason") or "end_turn")
        if forced and any(isinstance(part, ToolUsePart) and part.name == ANSWER_TOOL for part in parts):
            parts = tuple(TextPart(part.arguments) if isinstance(part, ToolUsePart) else part for part in parts)
            stop = "end_turn" if stop == "tool_use" else stop
        choice = Choice(parts, _FINISH.get(stop, "stop"), stop, raw.get("stop_sequence") or "")
        return Reply(
            id=str(raw.get("id") or ""),
            model=str(raw.get("model") or ""),
            choices=(choice,),
            usage=decode_usage(raw.get("usage")),
            native=Native("anthropic", raw),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error


def decode_usage(raw: Any, before: Usage = Usage()) -> Usage:  # noqa: B008 - a frozen value
    """Usage as Anthropic counts: input without cache. In a stream the counts are cumulative: each
    replaces the one ``before``."""
    if not isinstance(raw, dict):
        return before
    read = count_of(raw, "cache_read_input_tokens", before.cached_tokens)
    written = count_of(raw, "cache_creation_input_tokens", before.cache_write_tokens)
    fresh = count_of(raw, "input_tokens", before.input_tokens - before.cached_tokens - before.cache_write_tokens)
    known = before.detail or UsageDetail()
    written_long = count_of(part_of(raw, "cache_creation"), "ephemeral_1h_input_tokens", known.cache_write_long)
    searches = count_of(part_of(raw, "server_tool_use"), "web_search_requests", known.web_searches)
    detail = UsageDetail(cache_write_long=written_long, web_searches=searches) if written_long or searches else None
    return told(
        Usage(
            input_tokens=fresh + read + written,
            output_tokens=count_of(raw, "output_tokens", before.output_tokens),
            cached_tokens=read,
            cache_write_tokens=written,
            basis="provider",
            detail=detail,
            tier=_tier(raw) or before.tier,
        ),
        before,
    )


def _tier(raw: Mapping[str, Any]) -> str:
    """The tier that an answer was given by; the fast mode is priced like one."""
    told = raw["speed"] if raw.get("speed") == "fast" else raw.get("service_tier")
    return told if isinstance(told, str) else ""


class StreamDecoder:
    """Turns the named events of one stream into deltas; ``forced`` see ``carrying.is_forced``."""

    def __init__(self, *, forced: bool = True) -> None:
        self._forced = forced
        self._usage = Usage()
        self._id = ""
        self._model = ""
        self._tools: dict[int, int] = {}
        #: Calls of which no arguments were said yet, with the input they began with.
        self._silent: dict[int, Any] = {}
        #: Blocks that are the answer in the form of a tool call, and whether anything of each was said.
        self._answer: dict[int, bool] = {}

    def decode(self, raw: dict[str, Any]) -> list[Delta]:
        """The pieces in one event."""
        kind, at = raw.get("type"), int(raw.get("index") or 0)
        if kind == "message_start":
            message = raw.get("message") or {}
            self._id, self._model = str(message.get("id") or ""), str(message.get("model") or "")
            self._usage = decode_usage(message.get("usage"))
            return [Delta(usage=self._usage, id=self._id, model=self._model)]
        if kind == "content_block_start":
            block = raw.get("content_block") or {}
            if self._forced and block.get("type") == "tool_use" and block.get("name") == ANSWER_TOOL:
                self._answer[at] = False
                return []
            if block.get("type") == "tool_use":
                index = self._tools.setdefault(at, len(self._tools))
                self._silent[at] = block.get("input") or {}
                return [self._delta(tool_index=index, tool_id=block.get("id") or "", tool_name=block.get("name") or "")]
            text = block.get("text") or ""
            return [self._delta(text=text)] if text else []
        if kind == "content_block_delta":
            return self._block_delta(raw, at)
        if kind == "content_block_stop" and self._answer.get(at) is False:
            return [self._delta(text="{}")]  # an empty input comes without a piece
        if kind == "content_block_stop" and at in self._silent:
            given = msgspec.json.encode(self._silent.pop(at)).decode()
            return [self._delta(tool_index=self._tools[at], arguments=given)]
        if kind == "message_delta":
            self._usage = decode_usage(raw.get("usage"), self._usage)
            delta = raw.get("delta") or {}
            stop = delta.get("stop_reason")
            if stop == "tool_use" and self._answer:
                stop = "end_turn"
            if not stop:
                return [self._delta(usage=self._usage)]
            return [
                self._delta(
                    usage=self._usage,
                    finish=_FINISH.get(stop, "stop"),
                    raw_finish=stop,
                    stop_sequence=delta.get("stop_sequence") or "",
                )
            ]
        return []

    def _block_delta(self, raw: dict[str, Any], at: int) -> list[Delta]:
        delta = raw.get("delta") or {}
        kind = delta.get("type")
        if kind == "text_delta":
            return [self._delta(text=delta.get("text") or "")]
        piece = delta.get("partial_json") or ""
        if kind == "input_json_delta" and at in self._answer:
            self._answer[at] |= bool(piece)
            return [self._delta(text=piece)] if piece else []
        if kind == "input_json_delta":
            if piece:
                self._silent.pop(at, None)
            return [self._delta(tool_index=self._tools.get(at, 0), arguments=piece)]
        if kind == "thinking_delta":
            return [self._delta(thinking=delta.get("thinking") or "")]
        if kind == "signature_delta":
            return [self._delta(signature=delta.get("signature") or "")]
        return []

    def _delta(self, **fields: Any) -> Delta:
        return Delta(id=self._id, model=self._model, **fields)


def _refuse(chat: Chat) -> None:
    if chat.n != 1:
        raise NotSupported("this model gives one answer a call", mend="leave n out, or send several calls", param="n")
    if chat.temperature is not None and chat.temperature > 1:
        raise NotSupported("this model takes a temperature from 0 to 1", mend="lower it", param="temperature")


def _think(chat: Chat, body: dict[str, Any]) -> list[str]:
    """Sets the thinking budget that stands for an effort; what thinking forbids is left out and named."""
    budget = _BUDGETS.get(chat.reasoning_effort)
    if budget is None:
        return [] if chat.reasoning_effort == "none" else ["reasoning_effort"]
    forced = chat.tool_choice is not None and chat.tool_choice.mode in ("required", "tool")
    if forced or chat.response_format is not None or body["max_tokens"] <= budget:
        return ["reasoning_effort"]
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return [name for name in ("temperature", "top_p") if body.pop(name, None) is not None]


def _tool_choice(chat: Chat) -> dict[str, Any]:
    choice = chat.tool_choice
    if choice is None:
        return {"type": "auto"}
    made: dict[str, Any] = {"type": {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}[choice.mode]}
    if choice.mode == "tool":
        made["name"] = choice.name
    if choice.parallel is False and choice.mode != "none":
        made["disable_parallel_tool_use"] = True
    return made


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        if part.url:
            return {"type": "image", "source": {"type": "url", "url": part.url}}
        return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
    if isinstance(part, ToolUsePart):
        arguments = arguments_of(part)
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
    if isinstance(part, ToolResultPart):
        told = result_blocks(part, {"type": "text", "text": part.content}, _block) if part.images else part.content
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id, "content": told}
        return block | ({"is_error": True} if part.is_error else {})
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _part(block: dict[str, Any]) -> list[Part]:
    kind = block.get("type")
    if kind == "text":
        return [TextPart(block.get("text") or "")]
    if kind == "tool_use":
        return [ToolUsePart(block["id"], block["name"], msgspec.json.encode(block.get("input") or {}).decode())]
    if kind == "thinking":
        return [ThinkingPart(block.get("thinking") or "", block.get("signature") or "")]
    return []
