"""OpenAI's older completions as bytes: encode a ``Chat`` of that dialect, decode its answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.errors import NotSupported, UpstreamMalformed
from gateway.models.llm_models import COMPLETIONS, Chat, Choice, Delta, Native, Reply, TextPart
from gateway.providers.framing import Frames, SseFrames
from gateway.providers.openai_wire import decode_usage, finish_of

_OF_CHATS = ("max_tokens", "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")


class CompletionsWire:
    """The dialect for one upstream model; see ``http_models.Wire``."""

    dialect = COMPLETIONS
    takes_all = True

    def __init__(self, upstream_model: str) -> None:
        self._model = upstream_model

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        if chat.native is None:
            raise NotSupported("a text that goes on is carried as its caller wrote it, or not at all")
        body = {**chat.native, "model": self._model}
        for name in _OF_CHATS:
            value = getattr(chat, name)
            if value is not None:
                body[name] = value
        for name in ("stream", "stream_options"):
            body.pop(name, None)
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return msgspec.json.encode(body), ()

    def decode_reply(self, content: bytes, _chat: Chat | None = None) -> Reply:
        try:
            raw = msgspec.json.decode(content)
            choices = tuple(_choice(item) for item in raw["choices"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UpstreamMalformed("the provider's answer cannot be read", reached=True) from error
        if not choices:
            raise UpstreamMalformed("the provider's answer has no choice", reached=True)
        model, created = str(raw.get("model") or ""), raw.get("created")
        usage = decode_usage(raw.get("usage"))
        when = created if type(created) is int else 0
        return Reply(str(raw.get("id") or ""), model, choices, usage, when, Native(COMPLETIONS, raw))

    def decoder(self, _chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]:
        return _pieces

    def frames(self, _chat: Chat) -> Frames:
        return SseFrames()


def _choice(raw: dict[str, Any]) -> Choice:
    text, finish = raw["text"], str(raw.get("finish_reason") or "stop")
    return Choice((TextPart(text),) if text else (), finish_of(finish), finish)


def _pieces(raw: dict[str, Any]) -> list[Delta]:
    deltas: list[Delta] = []
    name, model = str(raw.get("id") or ""), str(raw.get("model") or "")
    for choice in raw.get("choices") or ():
        index, finish = int(choice.get("index") or 0), choice.get("finish_reason")
        if choice.get("text"):
            deltas.append(Delta(choice=index, text=choice["text"], id=name, model=model))
        if finish:
            deltas.append(Delta(choice=index, finish=finish_of(finish), raw_finish=finish, id=name, model=model))
    if isinstance(raw.get("usage"), dict):
        deltas.append(Delta(usage=decode_usage(raw["usage"]), id=name, model=model))
    return deltas
