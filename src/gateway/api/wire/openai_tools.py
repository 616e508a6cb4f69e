"""The tools of a request in OpenAI's dialect, what is chosen of them, and the calls of earlier turns.

What only this dialect has (tools whose input is plain text, a choice among some of the tools, the functions that
came before tools) is checked here and goes on in the caller's own body; see ``Chat.native_only``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.wire.fields import of_kind
from gateway.errors import ValidationFailed
from gateway.models.call_signatures import signature_in
from gateway.models.llm_models import Tool, ToolChoice, ToolUsePart


def is_custom(item: Any) -> bool:
    """Whether a tool, or a call of one, is of the kind whose input is plain text."""
    return isinstance(item, dict) and item.get("type") == "custom"


def tools_of(raw: Any, name: str) -> tuple[Tool, ...]:
    """The functions among the tools."""
    tools = []
    if not isinstance(raw, list):
        raise ValidationFailed(f"{name}: a list is expected", param=name)
    for at, item in enumerate(raw):
        custom = is_custom(item)
        function = item.get("custom" if custom else "function") if isinstance(item, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValidationFailed(f"tools[{at}]: a function with a name is expected", param=f"tools[{at}]")
        if item.get("type", "function") not in ("function", "custom"):
            raise ValidationFailed(f"tools[{at}].type: function or custom is expected", param=f"tools[{at}].type")
        if custom:
            continue
        of_kind(function, {"description": str, "parameters": dict, "strict": bool}, f"tools[{at}].function")
        told, schema = function.get("description") or "", function.get("parameters") or {}
        tools.append(Tool(function["name"], told, schema, function.get("strict")))
    return tuple(tools)


def tool_choice(body: Mapping[str, Any]) -> ToolChoice | None:
    """What is chosen of the tools, and whether several may be called at once."""
    of_kind(body, {"parallel_tool_calls": bool}, "")
    raw, parallel = body.get("tool_choice"), body.get("parallel_tool_calls")
    if raw is None:
        return None if parallel is None else ToolChoice("auto", parallel=bool(parallel))
    if raw in ("auto", "none", "required"):
        return ToolChoice(raw, parallel=parallel)
    kind = raw.get("type") if isinstance(raw, dict) else None
    chosen = raw.get(kind) if isinstance(kind, str) else None
    if kind == "allowed_tools" and isinstance(chosen, dict) and chosen.get("mode") in ("auto", "required"):
        return ToolChoice(chosen["mode"], parallel=parallel)
    if kind in ("function", "custom") and isinstance(chosen, dict) and isinstance(chosen.get("name"), str):
        return ToolChoice("tool", chosen["name"], parallel)
    raise ValidationFailed("tool_choice: auto, none, required or a function is expected", param="tool_choice")


def calls_of(raw: Any, place: str) -> tuple[ToolUsePart, ...]:
    """The calls that an earlier turn of the assistant made."""
    calls = []
    if raw is not None and not isinstance(raw, list):
        raise ValidationFailed(f"{place}: a list is expected", param=place)
    for at, item in enumerate(raw or ()):
        custom = is_custom(item)
        function = item.get("custom" if custom else "function") if isinstance(item, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or not isinstance(item.get("id"), str)
        ):
            raise ValidationFailed(
                f"{place}[{at}]: a function call with id, name and arguments is expected", param=place
            )
        of_kind(
            function, {"input" if custom else "arguments": str}, f"{place}[{at}].{'custom' if custom else 'function'}"
        )
        given = str(function.get("input") or "") if custom else str(function.get("arguments") or "{}")
        calls.append(ToolUsePart(item["id"], function["name"], given, signature_in(item)))
    return tuple(calls)


def called_once(raw: Any, place: str) -> tuple[ToolUsePart, ...]:
    """The call of a turn in the words that came before tools; its result names the function, there is no id."""
    if raw is None:
        return ()
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise ValidationFailed(f"{place}.function_call: a name is expected", param=f"{place}.function_call")
    of_kind(raw, {"arguments": str}, f"{place}.function_call")
    return (ToolUsePart(raw["name"], raw["name"], str(raw.get("arguments") or "{}")),)
