"""Placeholders in what a provider wrote in its own dialect (``Reply.native``, ``Delta.native``): restored there."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from gateway.governance.placeholders import Restorer, Restoring

Event = dict[str, Any]
_JSON = frozenset({"arguments", "partial_json"})
#: The texts of an OpenAI chunk's delta that come in pieces.
_OPENAI = ("content", "refusal", "reasoning_content", "reasoning")
#: The kinds of tool calls in it, and where each has what is handed to the tool.
_CALLS = {"function": "arguments", "custom": "input"}
#: Anthropic's pieces: the type of a delta, and its field.
_ANTHROPIC = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def restored_value(value: Any, restorer: Restorer, *, escaped: bool = False, free: bool = False) -> Any:
    """A JSON value with every text in it restored; what is JSON as text stays JSON. ``free``: it is a tool's
    input, where no name says so."""
    if isinstance(value, str):
        return restorer.whole(value, escaped=escaped)
    if isinstance(value, dict):
        return {
            key: restored_value(inner, restorer, escaped=key in _JSON and not free, free=free or key == "input")
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [restored_value(inner, restorer, free=free) for inner in value]
    return value


class NativeFlow:
    """The events of one stream; a placeholder may be spread over several of them."""

    def __init__(self, dialect: str, restorer: Restorer) -> None:
        self._anthropic = dialect == "anthropic"
        self._restorer = restorer
        self._open: dict[Hashable, Restoring] = {}

    def feed(self, event: Event) -> list[Event]:
        """The events to tell in the place of this one."""
        return self._anthropic_event(event) if self._anthropic else self._openai_chunk(event)

    def _push(self, channel: Hashable, piece: str, *, escaped: bool) -> str:
        restoring = self._open.get(channel)
        if restoring is None:
            restoring = self._open[channel] = self._restorer.channel(escaped=escaped)
        return restoring.push(piece)

    def _rest(self, channel: Hashable) -> str:
        restoring = self._open.pop(channel, None)
        return "" if restoring is None else restoring.push("", last=True)

    # -- Anthropic --------------------------------------------------------------------------------

    def _anthropic_event(self, event: Event) -> list[Event]:
        kind, index = event.get("type"), event.get("index")
        delta = event.get("delta")
        if kind == "content_block_delta" and isinstance(delta, dict):
            name = _ANTHROPIC.get(str(delta.get("type")))
            if name is not None and isinstance(delta.get(name), str):
                text = self._push((index, delta["type"]), delta[name], escaped=name in _JSON)
                return [{**event, "delta": {**delta, name: text}}]
            if delta.get("type") == "signature_delta":
                return [*self._anthropic_rest(index), event]
        if kind == "content_block_stop":
            return [*self._anthropic_rest(index), event]
        return [restored_value(event, self._restorer)]

    def _anthropic_rest(self, index: Any) -> list[Event]:
        """What is held back of a block, as one more piece of it."""
        told = []
        for kind, name in _ANTHROPIC.items():
            rest = self._rest((index, kind))
            if rest:
                told.append({"type": "content_block_delta", "index": index, "delta": {"type": kind, name: rest}})
        return told

    # -- OpenAI -----------------------------------------------------------------------------------

    def _openai_chunk(self, chunk: Event) -> list[Event]:
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return [chunk]
        before: list[Event] = []
        fresh = []
        for choice in choices:
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                fresh.append(self._going_on(choice))
                continue
            index = choice.get("index") or 0
            fresh.append({**choice, "delta": self._openai_delta(index, delta)})
            if choice.get("finish_reason"):
                before += self._openai_rest(chunk, index, fresh)
        return [*before, {**chunk, "choices": fresh}]

    def _going_on(self, choice: Any) -> Any:
        """A piece of an older completion, whose text stands in the choice itself."""
        if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
            return choice
        channel = (choice.get("index") or 0, "text")
        text = self._push(channel, choice["text"], escaped=False)
        return {**choice, "text": text + self._rest(channel) if choice.get("finish_reason") else text}

    def _openai_delta(self, index: Any, delta: Event) -> Event:
        changed = dict(delta)
        for name in _OPENAI:
            if isinstance(delta.get(name), str) and delta[name]:
                changed[name] = self._push((index, name), delta[name], escaped=False)
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            changed["tool_calls"] = [self._openai_call(index, call) for call in calls]
        called = delta.get("function_call")
        if isinstance(called, dict) and isinstance(called.get("arguments"), str):
            text = self._push((index, "function_call"), called["arguments"], escaped=True)
            changed["function_call"] = {**called, "arguments": text}
        return changed

    def _openai_call(self, index: Any, call: Any) -> Any:
        for kind, field in _CALLS.items():
            said = call.get(kind) if isinstance(call, dict) else None
            if isinstance(said, dict) and isinstance(said.get(field), str):
                text = self._push((index, kind, call.get("index") or 0), said[field], escaped=field in _JSON)
                return {**call, kind: {**said, field: text}}
        return call

    def _openai_rest(self, chunk: Event, index: Any, said: list[Event]) -> list[Event]:
        """What is held back of a choice. It comes before the chunk that ends it; where that chunk still
        says something itself, it goes there, behind it."""
        last: Event = said[-1]["delta"]
        rest: Event = {}
        calls = []
        for channel in [name for name in self._open if isinstance(name, tuple) and name[0] == index]:
            text = self._rest(channel)
            if not text:
                continue
            if channel[1] in _CALLS:
                calls.append({"index": channel[2], channel[1]: {_CALLS[channel[1]]: text}})
            elif channel[1] == "function_call":
                rest["function_call"] = {"arguments": text}
            elif last.get(channel[1]) is not None:
                last[channel[1]] += text
            else:
                rest[channel[1]] = text
        if calls:
            rest["tool_calls"] = calls
        if not rest:
            return []
        return [{**chunk, "choices": [{"index": index, "delta": rest, "logprobs": None, "finish_reason": None}]}]
