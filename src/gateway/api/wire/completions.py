"""OpenAI's older completions (``/v1/completions``): a text goes on. Body to ``Chat``, answer to their objects.

A text that goes on is no conversation: only a backend that has this very API is asked (see ``COMPLETIONS``), and its
answers go on whole. Each prompt stands in the chat as a turn of its own, for what is counted, guarded and kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gateway.api.wire.fields import number_value, stop_value, text_value, whole_value
from gateway.api.wire.openai import encode_usage
from gateway.api.wire.openai_request import OpenAIRequest
from gateway.errors import NotSupported, ValidationFailed
from gateway.ids import new_id
from gateway.models.llm_models import COMPLETIONS, Chat, Delta, Message, Reply, TextPart, Usage

#: What the API says where a caller does not: kept here, so that a caller's answer is as long at every backend.
USUAL_TOKENS = 16
_MOST_PROMPTS = 128
_MOST_ANSWERS = 128


def decode(body: Mapping[str, Any]) -> OpenAIRequest:
    """``ValidationFailed`` names the field; what this gateway cannot account for is refused by name."""
    said: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in body.items():
        read = _READERS.get(name)
        if read is None:
            raise ValidationFailed(f"{name[:100]}: no such parameter", mend="see the completions API", param=name[:100])
        if value is not None:
            (said if name in _OF_CHATS else extra)[name] = read(value, name)
    if not said.get("model"):
        raise ValidationFailed("model: a text is expected", param="model")
    texts = _prompts(body.get("prompt"))
    extra.pop("prompt", None)
    stream, options = bool(extra.pop("stream", False)), extra.pop("stream_options", {})
    many, best = extra.get("n", 1), extra.get("best_of", 1)
    if best > many and stream:
        raise ValidationFailed("best_of: not more than n where the answer is streamed", param="best_of")
    answers = len(texts) * max(many, best)
    if answers > _MOST_ANSWERS:
        raise ValidationFailed(f"n: at most {_MOST_ANSWERS} answers to all prompts", param="n")
    if "suffix" in extra:
        texts = [*texts, extra["suffix"]]
    said.setdefault("max_tokens", USUAL_TOKENS)
    native = {**body, "max_tokens": said["max_tokens"]}
    turns = tuple(Message("user", (TextPart(text),)) for text in texts)
    chat = Chat(messages=turns, dialect=COMPLETIONS, extra=extra, native=native, **{**said, "n": answers})
    return OpenAIRequest(chat, stream, bool(options.get("include_usage")))


def encode_reply(reply: Reply, model: str) -> dict[str, Any]:
    """A ``text_completion``: the backend's own, but for the model's name; what a guard changed is written anew."""
    own = {"id": reply.id or new_id("cmpl"), "object": "text_completion", "created": reply.created or int(time.time())}
    if reply.native is not None and reply.native.event is not None:
        own |= reply.native.event
        return {**own, "model": model, "usage": own.get("usage") or encode_usage(reply.usage)}
    choices = [_choice(at, choice.text(), choice.raw_finish or "stop") for at, choice in enumerate(reply.choices)]
    return {**own, "model": model, "choices": choices, "usage": encode_usage(reply.usage)}


class ChunkEncoder:
    """Pieces of one stream as ``text_completion``s."""

    def __init__(self, model: str, *, include_usage: bool, created: int) -> None:
        self._frame = {"id": new_id("cmpl"), "object": "text_completion", "created": created}
        self._model = model
        self._include_usage = include_usage

    def encode(self, delta: Delta) -> list[dict[str, Any]]:
        """The chunks of one piece."""
        if delta.native is not None:
            event = delta.native.event
            if event is None:
                return []
            self._frame |= {name: event[name] for name in self._frame if event.get(name)}
            return [self._chunk(event["choices"])] if event.get("choices") else []
        if not delta.text and delta.finish is None:
            return []
        finish = None if delta.finish is None else delta.raw_finish or "stop"
        return [self._chunk([_choice(delta.choice, delta.text, finish)])]

    def end(self, usage: Usage) -> list[dict[str, Any]]:
        """The chunk with the usage, where it was asked for."""
        return [{**self._chunk([]), "usage": encode_usage(usage)}] if self._include_usage else []

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk: dict[str, Any] = {**self._frame, "model": self._model, "choices": choices}
        if self._include_usage:
            chunk["usage"] = None
        return chunk


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _prompts(raw: Any) -> list[str]:
    texts = [raw] if isinstance(raw, str) else raw
    if isinstance(texts, list) and texts and all(isinstance(item, int | list) for item in texts):
        raise NotSupported(
            "prompt: lists of tokens are not read here",
            mend="send the prompt as text, or as a list of texts",
            param="prompt",
        )
    if not isinstance(texts, list) or not texts or not all(isinstance(item, str) and item for item in texts):
        raise ValidationFailed("prompt: a text, or a list of texts, is expected", param="prompt")
    if len(texts) > _MOST_PROMPTS:
        raise ValidationFailed(f"prompt: at most {_MOST_PROMPTS} texts", param="prompt")
    return list(texts)


def _flag(raw: Any, name: str) -> bool:
    if not isinstance(raw, bool):
        raise ValidationFailed(f"{name}: true or false is expected", param=name)
    return raw


def _object(raw: Any, name: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValidationFailed(f"{name}: an object is expected", param=name)
    return raw


_OF_CHATS = frozenset(
    {"model", "max_tokens", "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "user"}
)
_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "model": text_value,
    "prompt": lambda raw, _name: raw,
    "suffix": text_value,
    "max_tokens": partial(whole_value, 1, 10**7),
    "temperature": partial(number_value, 0, 2),
    "top_p": partial(number_value, 0, 1),
    "stop": stop_value,
    "seed": partial(whole_value, -(2**63), 2**63 - 1),
    "n": partial(whole_value, 1, 128),
    "best_of": partial(whole_value, 1, 20),
    "presence_penalty": partial(number_value, -2, 2),
    "frequency_penalty": partial(number_value, -2, 2),
    "logit_bias": _object,
    "logprobs": partial(whole_value, 0, 20),
    "echo": _flag,
    "user": text_value,
    "stream": _flag,
    "stream_options": _object,
}
