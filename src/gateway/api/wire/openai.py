"""OpenAI's dialect at our door: a ``Reply`` and its pieces become theirs; for requests see ``openai_request``."""

from __future__ import annotations

import time
from typing import Any

from gateway.api.wire.openai_request import OpenAIRequest, decode
from gateway.ids import new_id
from gateway.models.call_signatures import extra_content
from gateway.models.llm_models import Choice, Delta, FinishReason, Reply, ThinkingPart, ToolUsePart, Usage

__all__ = ["ChunkEncoder", "OpenAIRequest", "decode", "encode_relayed", "encode_reply", "encode_usage"]

_FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
}


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
        own = {"id": name, "object": "chat.completion", "created": reply.created or int(time.time())}
        own |= {field: value for field, value in reply.native.event.items() if value is not None or field not in own}
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
            content["refusal" if delta.refusal else "content"] = delta.text
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
    text = choice.text()
    refused = choice.finish == "stop" and choice.raw_finish == "refusal"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused else text or (None if calls else ""),
        "refusal": text if refused else None,
    }
    thinking = "".join(part.text for part in choice.parts if isinstance(part, ThinkingPart))
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {"index": at, "message": message, "logprobs": None, "finish_reason": _FINISH[choice.finish]}
