"""A ``Reply`` and its pieces as the Responses API's ``response`` and its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from gateway.api.wire.responses import ResponsesRequest
from gateway.api.wire.responses_items import refusal_part, text_part
from gateway.models.call_signatures import signed_id, split_id
from gateway.models.llm_models import (
    Delta,
    FinishReason,
    Reply,
    TextPart,
    ThinkingPart,
    ToolUsePart,
    Usage,
)

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Our codes in the words that a ``response.error`` has; the rest are ``server_error``.
_ERRORS = {
    "rate_limited": "rate_limit_exceeded",
    "upstream_rate_limited": "rate_limit_exceeded",
    "validation_failed": "invalid_prompt",
    "context_too_long": "invalid_prompt",
    "content_refused": "invalid_prompt",
}

#: A refusal is a message whose part says why the model does not answer.
_Kind = Literal["reasoning", "message", "refusal", "function_call"]
_PREFIX: dict[_Kind, str] = {"reasoning": "rs", "message": "msg", "refusal": "msg", "function_call": "fc"}
#: The parts of messages by what they say.
_PARTS: dict[_Kind, Callable[[str], dict[str, Any]]] = {"message": text_part, "refusal": refusal_part}


def encode_reply(reply: Reply, request: ResponsesRequest, model: str, response_id: str, created: int) -> dict[str, Any]:
    """A whole ``response``. ``model`` as the caller named it; the items' ids follow from ``response_id``."""
    items: list[_Item] = []
    finish: FinishReason = "stop"
    for choice in reply.choices[:1]:
        finish = choice.finish
        said: _Kind = "refusal" if finish == "stop" and choice.raw_finish == "refusal" else "message"
        for part in choice.parts:
            if isinstance(part, ToolUsePart):
                name = signed_id(part.id, part.signature)
                items.append(_Item("function_call", len(items), response_id, name, part.name))
                items[-1].pieces.append(part.arguments)
            elif isinstance(part, (TextPart, ThinkingPart)) and part.text:
                kind: _Kind = said if isinstance(part, TextPart) else "reasoning"
                if not items or items[-1].kind != kind:
                    items.append(_Item(kind, len(items), response_id))
                items[-1].pieces.append(part.text)
    return {
        **_head(request, model, response_id, created),
        **_outcome(finish),
        "output": [item.encode(_status(item, items, finish)) for item in items],
        "usage": encode_usage(reply.usage),
    }


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage as the Responses API counts."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


class EventEncoder:
    """Pieces of one stream as numbered events.

    Reasoning and messages follow one another; tool calls stay open to the end, for their pieces may
    come in turns.
    """

    def __init__(self, request: ResponsesRequest, model: str, response_id: str, created: int) -> None:
        self._response_id = response_id
        self._head = _head(request, model, response_id, created)
        self._begun = False
        self._sequence = 0
        self._items: list[_Item] = []
        self._calls: dict[int, _Item] = {}
        self._usage: Usage | None = None
        self._finish: FinishReason = "stop"
        self._final: dict[str, Any] | None = None

    def encode(self, delta: Delta) -> list[dict[str, Any]]:
        """The events of one piece."""
        if delta.usage is not None:
            self._usage = delta.usage
        events = self._start()
        if delta.choice != 0:
            return events
        if delta.thinking:
            events += self._say("reasoning", delta.thinking)
        if delta.text:
            events += self._say("refusal" if delta.refusal else "message", delta.text)
        if delta.tool_index is not None:
            events += self._call(delta, delta.tool_index)
        if delta.finish is not None:
            self._finish = delta.finish
        return events

    def end(self, usage: Usage) -> list[dict[str, Any]]:
        """What closes the response: the open items, and the whole of it with its usage."""
        events = self._start()
        for item in self._items:
            events += self._close(item, _status(item, self._items, self._finish))
        counted = usage if self._usage is None or self._usage.basis == "none" else self._usage
        self._final = {
            **self._head,
            **_outcome(self._finish),
            "output": self._output("completed"),
            "usage": encode_usage(counted),
        }
        events.append(self._event(f"response.{self._final['status']}", response=self._final))
        return events

    def failed(self, error_message: str, code: str) -> dict[str, Any]:
        """The event of a response that broke off. The gateway's own ``code`` is the error's ``type``."""
        error = {"code": _ERRORS.get(code, "server_error"), "message": error_message, "type": code}
        self._final = {**self._head, "status": "failed", "error": error, "output": self._output("incomplete")}
        return self._event("response.failed", response=self._final)

    def response(self) -> dict[str, Any]:
        """The response as it stands; after ``end`` or ``failed``, the final one."""
        return self._final or {**self._head, "output": self._output("in_progress")}

    def _start(self) -> list[dict[str, Any]]:
        if self._begun:
            return []
        self._begun = True
        return [self._event(f"response.{name}", response=self.response()) for name in ("created", "in_progress")]

    def _output(self, status: str) -> list[dict[str, Any]]:
        """Every item so far; those still open are of this ``status``."""
        return [item.encode(item.closed or status) for item in self._items]

    def _say(self, kind: _Kind, text: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        item = self._items[-1] if self._items else None
        if item is None or item.kind != kind:
            events += self._open(item := _Item(kind, len(self._items), self._response_id))
        item.pieces.append(text)
        if kind == "message":
            return [*events, self._at(item, "output_text.delta", content_index=0, delta=text, logprobs=[])]
        if kind == "refusal":
            return [*events, self._at(item, "refusal.delta", content_index=0, delta=text)]
        return [*events, self._at(item, "reasoning_summary_text.delta", summary_index=0, delta=text)]

    def _call(self, delta: Delta, index: int) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        item = self._calls.get(index)
        if item is None or (delta.tool_name and delta.tool_id and delta.tool_id != split_id(item.call_id)[0]):
            if item is not None:  # a provider that numbers every call alike
                events += self._close(item, "completed")
            name = signed_id(delta.tool_id, delta.signature)
            item = _Item("function_call", len(self._items), self._response_id, name, delta.tool_name)
            self._calls[index] = item
            events += self._open(item)
        if delta.arguments:
            item.pieces.append(delta.arguments)
            events.append(self._at(item, "function_call_arguments.delta", delta=delta.arguments))
        return events

    def _open(self, item: _Item) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if self._items and self._items[-1].kind != "function_call":
            events += self._close(self._items[-1], "completed")
        self._items.append(item)
        events.append(
            self._event("response.output_item.added", output_index=item.index, item=item.encode("in_progress"))
        )
        if item.kind in _PARTS:
            events.append(self._at(item, "content_part.added", content_index=0, part=_PARTS[item.kind]("")))
        elif item.kind == "reasoning":
            part = {"type": "summary_text", "text": ""}
            events.append(self._at(item, "reasoning_summary_part.added", summary_index=0, part=part))
        return events

    def _close(self, item: _Item, status: str) -> list[dict[str, Any]]:
        if item.closed:
            return []
        item.closed = status
        text, whole = item.text(), item.encode(status)
        events: list[dict[str, Any]] = []
        if item.kind == "message":
            events.append(self._at(item, "output_text.done", content_index=0, text=text, logprobs=[]))
            events.append(self._at(item, "content_part.done", content_index=0, part=text_part(text)))
        elif item.kind == "refusal":
            events.append(self._at(item, "refusal.done", content_index=0, refusal=text))
            events.append(self._at(item, "content_part.done", content_index=0, part=refusal_part(text)))
        elif item.kind == "reasoning":
            part = {"type": "summary_text", "text": text}
            events.append(self._at(item, "reasoning_summary_text.done", summary_index=0, text=text))
            events.append(self._at(item, "reasoning_summary_part.done", summary_index=0, part=part))
        else:
            arguments = whole["arguments"]
            if arguments != text:
                events.append(self._at(item, "function_call_arguments.delta", delta=arguments))
            events.append(self._at(item, "function_call_arguments.done", arguments=arguments))
        events.append(self._event("response.output_item.done", output_index=item.index, item=whole))
        return events

    def _at(self, item: _Item, name: str, **fields: Any) -> dict[str, Any]:
        return self._event(f"response.{name}", item_id=item.id, output_index=item.index, **fields)

    def _event(self, name: str, **fields: Any) -> dict[str, Any]:
        self._sequence += 1
        return {"type": name, "sequence_number": self._sequence - 1, **fields}


class _Item:
    """One item of the output while it grows; ``closed`` is its last status."""

    def __init__(self, kind: _Kind, index: int, response_id: str, call_id: str = "", name: str = "") -> None:
        end = f"{response_id.removeprefix('resp_')}_{index}"
        self.kind = kind
        self.index = index
        self.id = f"{_PREFIX[kind]}_{end}"
        self.call_id = call_id or f"call_{end}"
        self.name = name
        self.pieces: list[str] = []
        self.closed = ""

    def text(self) -> str:
        return "".join(self.pieces)

    def encode(self, status: str) -> dict[str, Any]:
        text = self.text()
        kind = "message" if self.kind == "refusal" else self.kind
        item: dict[str, Any] = {"id": self.id, "type": kind, "status": status}
        if self.kind == "reasoning":
            return {**item, "summary": [{"type": "summary_text", "text": text}] if text else []}
        if self.kind in _PARTS:
            return {**item, "role": "assistant", "content": [_PARTS[self.kind](text)] if text else []}
        arguments = text or ("{}" if status == "completed" else "")
        return {**item, "call_id": self.call_id, "name": self.name, "arguments": arguments}


def _status(item: _Item, items: Sequence[_Item], finish: FinishReason) -> str:
    """What broke the answer off broke off its last item."""
    return "incomplete" if finish in _INCOMPLETE and item is items[-1] else "completed"


def _outcome(finish: FinishReason) -> dict[str, Any]:
    reason = _INCOMPLETE.get(finish)
    if reason is None:
        return {"status": "completed"}
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


def _head(request: ResponsesRequest, model: str, response_id: str, created: int) -> dict[str, Any]:
    """A response that has just begun."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        **request.echo,
        "model": model,
        "output": [],
        "previous_response_id": request.previous_response_id or None,
        "store": request.store,
        "usage": None,
    }
