"""OpenAI's dialects as the embedded model's server takes it: what it would pass over in silence is refused
or named before it is asked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from gateway.errors import NotSupported
from gateway.models.llm_models import (
    Chat,
    Delta,
    ImagePart,
    Native,
    Reply,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.providers import openai_wire
from gateway.providers.completions_wire import CompletionsWire
from gateway.providers.framing import Frames, SseFrames
from gateway.providers.http_models import OpenAIWire

#: Fields that mean something to the server beside those of the neutral chat.
_TAKEN = frozenset({"logprobs", "top_logprobs", "logit_bias"})
#: Fields of the dialect that it takes and does nothing with.
_PASSED_OVER = frozenset(
    {"metadata", "modalities", "parallel_tool_calls", "prediction", "prompt_cache_key", "prompt_cache_options"}
    | {"prompt_cache_retention", "reasoning_effort", "safety_identifier", "service_tier", "store", "tool_choice"}
    | {"user", "verbosity"}
)
#: What its older completions understand beside the numbers of every chat.
_OF_COMPLETIONS = frozenset({"prompt", "stop", "logit_bias"})


class EmbeddedWire(OpenAIWire):
    """For a model whose longest answer has ``most`` tokens: it would write on without a bound. Of several answers it
    counts the first alone, so that their usage is counted here."""

    takes_all = False

    def __init__(self, upstream_model: str, most: int) -> None:
        super().__init__(upstream_model, official=False)
        self._upstream_model = upstream_model
        self._most = most

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        _refuse(chat)
        named = _named(chat)
        ready = structs.replace(
            chat,
            native=None if chat.native is None else _without(chat.native),
            native_only=() if chat.dialect == self.dialect else chat.native_only,
            extra=_without(chat.extra) if chat.dialect == self.dialect else chat.extra,
            max_tokens=chat.max_tokens or self._most,
            user="",
            reasoning_effort="",
            tool_choice=None,
        )
        body, others = openai_wire.encode(ready, self._upstream_model, stream=stream, official=False)
        return body, tuple(dict.fromkeys((*named, *others)))

    def decode_reply(self, content: bytes, chat: Chat | None = None) -> Reply:
        if chat is None or chat.n == 1:
            return super().decode_reply(content, chat)
        reply = openai_wire.decode_reply(content)
        native = reply.native
        if native is not None and native.event is not None:
            native = Native(native.dialect, {**native.event, "usage": None})
        return structs.replace(reply, usage=Usage(), native=native)

    def decoder(self, chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]:
        decode = super().decoder(chat)
        if chat is None or chat.n == 1:
            return decode
        return lambda raw: decode({**raw, "usage": None})

    def frames(self, chat: Chat) -> Frames:
        return super().frames(chat) if chat.n == 1 else SseFrames()


class EmbeddedCompletionsWire(CompletionsWire):
    """Older completions of one text, as the server has them: fields that it would pass over are refused or named."""

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        said = chat.native or {}
        if chat.n != 1:
            raise _cannot("several prompts, n or best_of", "n")
        for name in ("echo", "suffix", "logprobs"):
            value = chat.extra.get(name)
            if value is not None and value is not False and value != "":
                raise _cannot(f"{name} of older completions", name)
        native = {name: value for name, value in said.items() if name in _OF_COMPLETIONS}
        if isinstance(native.get("prompt"), list):
            (native["prompt"],) = native["prompt"]
        body, _ = super().encode(structs.replace(chat, native=native), stream=stream)
        return body, ("user",) if chat.user else ()


def _refuse(chat: Chat) -> None:
    """Raises ``NotSupported`` for what the answer depends on."""
    parts = [part for turn in chat.messages for part in turn.parts]
    if any(isinstance(part, ImagePart) for part in parts):
        raise _cannot("images", "messages")
    if chat.tools or any(isinstance(part, (ToolUsePart, ToolResultPart)) for part in parts):
        raise _cannot("tools", "tools")
    if chat.dialect == "openai":
        for name in chat.native_only:
            if name not in _TAKEN:
                raise _cannot(name, name)


def _cannot(what: str, param: str) -> NotSupported:
    return NotSupported(
        f"the embedded model takes no {what}", mend="leave it out, or use a model of another provider", param=param
    )


def _named(chat: Chat) -> list[str]:
    fields = {**(chat.native or {}), **chat.extra} if chat.dialect == "openai" else {}
    said = {name for name, value in fields.items() if name in _PASSED_OVER and value is not None}
    if chat.user:
        said.add("user")
    if chat.reasoning_effort:
        said.add("reasoning_effort")
    return sorted(said)


def _without(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _PASSED_OVER}
