"""The items of a Responses conversation, as they come in, become turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.api.wire.fields import image
from gateway.api.wire.tool_results import in_turns, tool_result
from gateway.errors import NotSupported, ValidationFailed
from gateway.models.call_signatures import split_id
from gateway.models.llm_models import (
    Message,
    Part,
    Role,
    TextPart,
    ToolUsePart,
)

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
#: Items of tools that OpenAI runs itself, or that stand for something kept there: refused.
_HOSTED_ITEMS = frozenset(
    {"file_search_call", "web_search_call", "computer_call", "computer_call_output"}
    | {"image_generation_call", "code_interpreter_call", "local_shell_call", "local_shell_call_output", "shell_call"}
    | {"shell_call_output", "apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request"}
    | {"mcp_approval_response", "mcp_call", "custom_tool_call", "custom_tool_call_output", "tool_search_call"}
    | {"tool_search_output", "additional_tools", "compaction", "compaction_trigger", "configuration_update"}
    | {"program", "program_output"}
)
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "summary_text": "text", "refusal": "refusal"}
_HOSTED_PARTS = frozenset({"input_file", "input_audio", "computer_screenshot"})


def input_items(raw: Any, *, needed: bool) -> list[dict[str, Any]]:
    if isinstance(raw, str) and raw:
        return [{"role": "user", "content": raw}]
    if isinstance(raw, list) and all(isinstance(item, dict) for item in raw) and (raw or not needed):
        return raw
    if raw is None and not needed:
        return []
    raise ValidationFailed("input: a text or a list of items is expected", param="input")


def whole_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """A message's short form written out; other items as they stand."""
    if _kind(item) != "message":
        return dict(item)
    content = item.get("content")
    if isinstance(content, str):
        own = item.get("role") == "assistant"
        content = [text_part(content) if own else {"type": "input_text", "text": content}]
    return {**item, "type": "message", "content": content}


def with_ids(items: Sequence[Mapping[str, Any]], response_id: str) -> list[dict[str, Any]]:
    """The items of a response's input as they are kept and listed: each has an id and says it is whole."""
    end = response_id.removeprefix("resp_")
    prefix = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
    return [
        {"id": f"{prefix.get(str(item.get('type')), 'item')}_{end}_in{at}", "status": "completed", **item}
        for at, item in enumerate(items)
    ]


def _kind(item: Mapping[str, Any]) -> str:
    """An item's or a part's type; what has a role and no type is a message."""
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else ""
    return kind if isinstance(kind, str) else ""


class Conversation:
    """Items, one after another, as messages; neighbouring calls become one turn."""

    def __init__(self, reported: list[str]) -> None:
        self.messages: list[Message] = []
        self._reported = reported
        self._calls: set[str] = set()

    def add(self, item: Mapping[str, Any], place: str) -> None:
        kind = _kind(item)
        if kind == "message":
            self._message(item, place)
        elif kind == "function_call":
            call_id, name, arguments = (text_of(item, field, place) for field in ("call_id", "name", "arguments"))
            self._calls.add(call_id)
            own, signature = split_id(call_id)
            self._assistant((ToolUsePart(own, name, arguments or "{}", signature),), joined=True)
        elif kind == "function_call_output":
            self._result(item, place)
        elif kind == "reasoning":
            self._reported.append("reasoning")
        elif kind in _HOSTED_ITEMS:
            raise NotSupported(f"{place}: items of type {kind} are not taken here", param=f"{place}.type")
        else:
            raise ValidationFailed(
                f"{place}.type: message, function_call, function_call_output, reasoning or item_reference is expected",
                param=f"{place}.type",
            )

    def _message(self, item: Mapping[str, Any], place: str) -> None:
        role = _ROLES.get(str(item.get("role")))
        if role is None:
            raise ValidationFailed(
                f"{place}.role: one of system, developer, user, assistant is expected", param=f"{place}.role"
            )
        if item.get("phase") is not None:
            self._reported.append("phase")
        parts = self._parts(item.get("content"), f"{place}.content", images=role == "user")
        if role == "assistant":
            calls = self.messages and any(isinstance(part, ToolUsePart) for part in self.messages[-1].parts)
            self._assistant(parts, joined=bool(calls))
        else:
            self.messages.append(Message(role, parts))

    def _assistant(self, parts: tuple[Part, ...], *, joined: bool) -> None:
        """One more turn of the assistant, or more of its last one."""
        if joined and self.messages and self.messages[-1].role == "assistant":
            parts = (*self.messages.pop().parts, *parts)
        self.messages.append(Message("assistant", parts))

    def _result(self, item: Mapping[str, Any], place: str) -> None:
        call_id = text_of(item, "call_id", place)
        if call_id not in self._calls:
            raise ValidationFailed(
                f"{place}.call_id: no function call of that id comes before it",
                mend="send the function_call item too, or name the previous_response_id it was in",
                param=f"{place}.call_id",
            )
        if not isinstance(item.get("output"), (str, list)):
            raise ValidationFailed(f"{place}.output: a text or a list of parts is expected", param=f"{place}.output")
        parts = self._parts(item["output"], f"{place}.output", images=True)
        if in_turns(item["output"]):
            mend = "put the images after the texts"
            raise NotSupported(f"{place}.output: images between texts are not taken here", mend=mend, param=place)
        self.messages.append(Message("tool", (tool_result(split_id(call_id)[0], parts, ""),)))

    def _parts(self, raw: Any, place: str, *, images: bool) -> tuple[Part, ...]:
        if isinstance(raw, str):
            return (TextPart(raw),) if raw else ()
        if not isinstance(raw, list):
            raise ValidationFailed(f"{place}: a text or a list of parts is expected", param=place)
        parts = (self._part(item, f"{place}[{at}]", images) for at, item in enumerate(raw))
        return tuple(part for part in parts if part != TextPart(""))

    def _part(self, raw: Any, place: str, images: bool) -> Part:
        if not isinstance(raw, dict):
            raise ValidationFailed(f"{place}: an object is expected", param=place)
        kind = _kind(raw)
        if raw.get("prompt_cache_breakpoint") is not None:
            self._reported.append("prompt_cache_breakpoint")
        if kind in _TEXTS:
            return TextPart(text_of(raw, _TEXTS[kind], place))
        if kind in _HOSTED_PARTS or (kind == "input_image" and raw.get("file_id") is not None):
            name = "input_image.file_id" if kind == "input_image" else kind
            raise NotSupported(f"{place}: {name} is not taken here", mend="send text or an image's URL", param=place)
        if kind == "input_image" and images:
            detail = "" if raw.get("detail") is None else text_of(raw, "detail", place)
            return image({"url": text_of(raw, "image_url", place), "detail": detail}, place)
        if kind == "input_image":
            raise NotSupported(f"{place}: input_image is taken of a user or a tool only", param=place)
        raise ValidationFailed(
            f"{place}: a part of type input_text, input_image, output_text or refusal is expected", param=place
        )


def text_of(item: Mapping[str, Any], name: str, place: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise ValidationFailed(f"{place}.{name}: a text is expected", param=f"{place}.{name}")
    return value


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}
