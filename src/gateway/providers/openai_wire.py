"""OpenAI's chat completions as bytes: encode a ``Chat``, decode a ``Reply`` and a stream. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import NotSupported, UpstreamMalformed
from gateway.models.call_signatures import NAME as SIGNATURE
from gateway.models.call_signatures import extra_content, signature_in
from gateway.models.llm_models import (
    Body,
    Chat,
    Choice,
    Delta,
    FinishReason,
    ImagePart,
    Message,
    Native,
    Part,
    Reply,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.models.server_fields import SERVER_FIELDS
from gateway.providers.carrying import begun_answer, refuse_shown_results, unmapped
from gateway.providers.lenient_json import loads
from gateway.providers.model_names import renamed
from gateway.providers.openai_calls import Calls
from gateway.providers.usage_counts import count_of, openai_detail, part_of, told

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
}
#: Models that name their bound ``max_completion_tokens`` and take no temperature.
_REASONING = ("o1", "o3", "o4", "gpt-5")
#: What nobody has said of seed, penalties, effort and the number of answers.
_UNSAID = (None, None, None, "", 1)
_WITH_USAGE = {"include_usage": True}
_NUMBERS = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")


def encode(
    chat: Chat, upstream_model: str, *, stream: bool, official: bool = True, cache_key: bool = False
) -> tuple[bytes, tuple[str, ...]]:
    """The request body, and the names of what could not be carried.

    ``official`` is OpenAI itself; other servers of the dialect get ``max_tokens`` always, and no
    developer turns. A body of this very dialect goes as it stands. ``cache_key`` says that it knows
    ``prompt_cache_key``. Raises ``NotSupported`` for what would change the answer's meaning.
    """
    if official and chat.native_only and chat.dialect == "openai":
        _refuse_server_fields(chat)
    if chat.native is not None and chat.dialect == "openai":
        raw = _raw(chat, chat.native, upstream_model, stream, official) if type(chat.native) is Body else None
        if raw is not None and not (cache_key and chat.prompt_cache is not None):
            return raw, ()
        own = _native(chat, chat.native, upstream_model, stream, official)
        lost = (SIGNATURE,) if official and SIGNATURE in chat.unmapped else ()
        return msgspec.json.encode(_kept(chat, own) if cache_key else own), lost
    dropped = [name for name in unmapped(chat, "openai") if official or name != SIGNATURE]
    refuse_shown_results(chat)
    dropped += begun_answer(chat) if official else []
    parts = [part for turn in chat.messages for part in turn.parts]
    if any(isinstance(part, ThinkingPart) for part in parts) and "thinking" not in dropped:
        dropped.append("thinking")
    if any(isinstance(part, ToolResultPart) and part.is_error for part in parts):
        dropped.append("tool_result.is_error")
    body: dict[str, Any] = {"model": upstream_model, "messages": _messages(chat.messages, signed=not official)}
    if chat.max_tokens is not None:
        body[_bound_name(upstream_model, official)] = chat.max_tokens
    for name in _NUMBERS:
        value = getattr(chat, name)
        if value is not None:
            body[name] = value
    if chat.n != 1:
        body["n"] = chat.n
    if chat.stop:
        body["stop"] = list(chat.stop)
    if chat.user:
        body["user"] = chat.user
    if chat.reasoning_effort:
        body["reasoning_effort"] = chat.reasoning_effort
    _tools(chat, body)
    if chat.response_format is not None and chat.response_format.kind != "text":
        body["response_format"] = _response_format(chat)
    if chat.dialect == "openai":
        body |= chat.extra
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(_kept(chat, body) if cache_key else body), tuple(dropped)


def _refuse_server_fields(chat: Chat) -> None:
    names = [name for name in chat.native_only if name in SERVER_FIELDS]
    if names:
        raise NotSupported(
            f"the provider of this model has no {', '.join(names)}",
            mend="leave it out, or use a model of a server that has it",
            param=names[0],
        )


def _kept(chat: Chat, body: dict[str, Any]) -> dict[str, Any]:
    """The body with the key by which the provider finds its kept beginning, where asked and not yet said."""
    asked = chat.prompt_cache
    if asked is None or not asked.key or body.get("prompt_cache_key") is not None:
        return body
    return {**body, "prompt_cache_key": asked.key}


def _raw(chat: Chat, native: Body, upstream_model: str, stream: bool, official: bool) -> bytes | None:
    """The body as it came, but for the model's name; ``None`` where anything else is to be said. Only of bodies
    that ``openai_plain`` reads."""
    said = native.get
    if (
        chat.max_tokens != said("max_tokens")
        or chat.temperature != said("temperature")
        or chat.top_p != said("top_p")
        or (chat.seed, chat.presence_penalty, chat.frequency_penalty, chat.reasoning_effort, chat.n) != _UNSAID
        or chat.unmapped
        or (official and upstream_model.startswith(_REASONING))
    ):
        return None
    if stream:
        if said("stream") is not True or said("stream_options") != _WITH_USAGE:
            return None
    elif "stream" in native or "stream_options" in native:
        return None
    return renamed(native.raw, chat.model, upstream_model)


def _native(chat: Chat, native: dict[str, Any], upstream_model: str, stream: bool, official: bool) -> dict[str, Any]:
    body = {**native, "model": upstream_model}
    for name in (*_NUMBERS, "n", "reasoning_effort"):
        value = getattr(chat, name)
        if value not in (None, "") and body.get(name) is None and not (name == "n" and value == 1):
            body[name] = value
    bound = _bound_name(upstream_model, official)
    if chat.max_tokens is not None and body.get(bound) != chat.max_tokens:
        body[bound] = chat.max_tokens
    body.pop("max_tokens" if bound == "max_completion_tokens" else "max_completion_tokens", None)
    if not official and any(turn.get("role") == "developer" for turn in body["messages"]):
        body["messages"] = [
            {**turn, "role": "system"} if turn.get("role") == "developer" else turn for turn in body["messages"]
        ]
    if official and SIGNATURE in chat.unmapped:  # OpenAI itself refuses fields that it does not know
        body["messages"] = [_unsigned(turn) for turn in body["messages"]]
    if stream:
        body |= {"stream": True, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)
    return body


def _unsigned(turn: dict[str, Any]) -> dict[str, Any]:
    calls = turn.get("tool_calls")
    if not isinstance(calls, list):
        return turn
    without = [{name: value for name, value in call.items() if name != "extra_content"} for call in calls]
    return {**turn, "tool_calls": without}


def _bound_name(upstream_model: str, official: bool) -> str:
    return "max_completion_tokens" if official and upstream_model.startswith(_REASONING) else "max_tokens"


def decode_reply(content: bytes) -> Reply:
    """The whole answer. ``UpstreamError`` for one that is not of this shape."""
    try:
        raw = loads(content)
        choices = tuple(_choice(item) for item in raw["choices"])
        if not choices:
            raise ValueError("no choices")
        return Reply(
            id=str(raw.get("id") or ""),
            model=str(raw.get("model") or ""),
            choices=choices,
            usage=decode_usage(raw.get("usage"), raw.get("service_tier")),
            created=int(raw.get("created") or 0),
            native=Native("openai", raw),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error


def decode_usage(raw: Any, tier: Any = None) -> Usage:
    """Usage as OpenAI counts: prompt with cached, completion with reasoning; the ``tier`` stands beside it."""
    if not isinstance(raw, dict):
        return Usage()
    prompt, completion = part_of(raw, "prompt_tokens_details"), part_of(raw, "completion_tokens_details")
    return told(
        Usage(
            input_tokens=count_of(raw, "prompt_tokens"),
            output_tokens=count_of(raw, "completion_tokens"),
            cached_tokens=count_of(prompt, "cached_tokens"),
            reasoning_tokens=count_of(completion, "reasoning_tokens"),
            basis="provider",
            detail=openai_detail(prompt, completion),
            tier=tier if isinstance(tier, str) else "",
        )
    )


def finish_of(reason: str, *, called: bool = False) -> FinishReason:
    """What OpenAI's word for the end of a choice means; a word that nobody knows is an end all the same. Some
    servers say ``stop`` also where the choice ``called`` a tool."""
    finish = _FINISH.get(reason, "stop")
    return "tool_use" if called and finish == "stop" else finish


def decode_chunk(raw: dict[str, Any], calls: Calls | None = None) -> list[Delta]:
    """The pieces in one streamed chunk; ``calls`` are the tool calls of its stream. What tells them apart is put right
    in the chunk itself: it may go on to a caller who knows OpenAI's way alone."""
    deltas: list[Delta] = []
    calls = Calls() if calls is None else calls
    name, model = str(raw.get("id") or ""), str(raw.get("model") or "")
    for choice in raw.get("choices") or ():
        index = int(choice.get("index") or 0)
        delta = choice.get("delta")
        if delta is None:
            choice["delta"] = {}
        if delta:
            _pieces(delta, index, name, model, deltas, calls)
        finish = choice.get("finish_reason")
        if finish:
            meant = finish_of(finish, called=calls.any(index))
            raw_finish = "refusal" if index in calls.refused and meant == "stop" else finish
            deltas.append(Delta(choice=index, finish=meant, raw_finish=raw_finish, id=name, model=model))
    if isinstance(raw.get("usage"), dict):
        deltas.append(Delta(usage=decode_usage(raw["usage"], raw.get("service_tier")), id=name, model=model))
    return deltas


def _pieces(delta: dict[str, Any], index: int, name: str, model: str, deltas: list[Delta], calls: Calls) -> None:
    thinking, text = _said(delta)
    refusal = bool(delta.get("refusal"))
    if refusal:
        calls.refused.add(index)
    if text or thinking:
        deltas.append(Delta(choice=index, text=text, thinking=thinking, id=name, model=model, refusal=refusal))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        called = function.get("name") or ""
        place, call_id = calls.place(index, call, called)
        if call.get("index") != place:
            call["index"] = place  # as the event goes on to who reads it by OpenAI's rules
        if call_id and not call.get("id"):
            call["id"] = call_id
        deltas.append(
            Delta(
                choice=index,
                tool_index=place,
                tool_id=call_id,
                tool_name=called if call_id else "",
                arguments=_arguments(function),
                signature=signature_in(call),
                id=name,
                model=model,
            )
        )


def _said(message: dict[str, Any]) -> tuple[str, str]:
    """What a message, or a piece of one, has of thinking and of text. Servers call their thinking
    ``reasoning_content`` or ``reasoning`` (vLLM, Ollama, OpenRouter), or have it as a part of the content (Mistral)."""
    thinking = message.get("reasoning_content") or message.get("reasoning")
    content = message.get("content") or message.get("refusal")
    if not isinstance(content, list):
        return thinking if isinstance(thinking, str) else "", content if isinstance(content, str) else ""
    thought = "".join(_text_of(part.get("thinking")) for part in content if part.get("type") == "thinking")
    return thought, _text_of(content)


def _text_of(parts: Any) -> str:
    """The text of a text, or of a list of parts."""
    if not isinstance(parts, list):
        return parts if isinstance(parts, str) else ""
    return "".join(part.get("text") or "" for part in parts if part.get("type") == "text")


def _arguments(function: dict[str, Any]) -> str:
    """JSON as text, also of a server that writes it as a value; of a custom tool its input."""
    given = function.get("arguments") or function.get("input")
    return given if isinstance(given, str) else msgspec.json.encode(given).decode() if given else ""


def _choice(raw: dict[str, Any]) -> Choice:
    message = raw.get("message") or {}
    parts: list[Part] = []
    thinking, text = _said(message)
    if thinking:
        parts.append(ThinkingPart(thinking))
    if text:
        parts.append(TextPart(text))
    calls = Calls()
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call["custom"]
        call_id = str(call.get("id") or "") or calls.place(0, {}, function["name"])[1]
        call["id"] = call_id
        parts.append(ToolUsePart(call_id, function["name"], _arguments(function), signature_in(call)))
    finish = str(raw.get("finish_reason") or "stop")
    meant = finish_of(finish, called=bool(message.get("tool_calls")))
    return Choice(tuple(parts), meant, "refusal" if message.get("refusal") and meant == "stop" else finish)


def _messages(messages: tuple[Message, ...], *, signed: bool) -> list[dict[str, Any]]:
    encoded: list[dict[str, Any]] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        encoded += [{"role": "tool", "tool_call_id": part.id, "content": part.content} for part in results]
        calls = [part for part in message.parts if isinstance(part, ToolUsePart)]
        content = _content(message)
        if content is None and not calls:
            continue
        turn: dict[str, Any] = {"role": message.role, "content": content}
        if calls:
            turn["tool_calls"] = [
                {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
                | (extra_content(part.signature) if signed else {})
                for part in calls
            ]
        encoded.append(turn)
    return encoded


def _content(message: Message) -> Any:
    """Several texts of a user stay apart, those of the system are joined as ``anthropic_wire`` does it; an assistant's
    are one text (a provider cuts it where it cites)."""
    texts = [part.text for part in message.parts if isinstance(part, TextPart)]
    if any(isinstance(part, ImagePart) for part in message.parts) or (message.role == "user" and len(texts) > 1):
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": part.text})
            elif isinstance(part, ImagePart):
                url = part.url or f"data:{part.media_type};base64,{part.data}"
                image = {"url": url, "detail": part.detail} if part.detail else {"url": url}
                content.append({"type": "image_url", "image_url": image})
        return content
    return ("\n\n" if message.role == "system" else "").join(texts) if texts else None


def _tools(chat: Chat, body: dict[str, Any]) -> None:
    if chat.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema}
                | ({} if tool.strict is None else {"strict": tool.strict}),
            }
            for tool in chat.tools
        ]
    choice = chat.tool_choice
    if choice is not None and chat.tools:
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.mode == "tool" else choice.mode
        if choice.parallel is not None:
            body["parallel_tool_calls"] = choice.parallel


def _response_format(chat: Chat) -> dict[str, Any]:
    given = chat.response_format
    if given is None or given.kind != "json_schema":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": given.name or "answer", "schema": given.schema}
    if given.strict is not None:
        schema["strict"] = given.strict
    return {"type": "json_schema", "json_schema": schema}
