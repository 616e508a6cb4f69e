"""OpenAI's Responses API at our door: a request body becomes a ``Chat``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.api.wire.fields import number, text, whole
from gateway.api.wire.request_headers import of_openai
from gateway.api.wire.responses_items import Conversation, input_items, text_of, whole_item
from gateway.errors import NotBuilt, NotSupported, ValidationFailed
from gateway.models.call_signatures import signatures_of
from gateway.models.llm_models import (
    Chat,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolChoice,
)

_READ = frozenset(
    {"model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "tools", "tool_choice", "user"}
    | {"parallel_tool_calls", "text", "reasoning", "store", "stream", "stream_options", "previous_response_id"}
    | {"truncation", "include", "background"}
)
#: Fields that chat completions has too: carried to a provider of that dialect, reported elsewhere.
_EXTRA = frozenset({"metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
#: Fields that are only hints to OpenAI's own house: reported.
_HINTS = frozenset({"prompt_cache_options"})
#: Fields that only OpenAI's own house can heed, and that the answer depends on: refused.
_REFUSED = frozenset(
    {"prompt", "max_tool_calls", "top_logprobs", "context_management", "moderation", "image"}
    | {"background_options", "access_programs"}
)


class ResponsesRequest(msgspec.Struct, frozen=True):
    """A decoded request.

    ``input_items`` is the request's own input without what came before it, ``echo`` the fields that
    a response repeats, ``reported`` the names of what was accepted but is not carried (also the
    chat's ``unmapped``).
    """

    chat: Chat
    stream: bool
    store: bool
    previous_response_id: str
    input_items: list[dict[str, Any]]
    echo: dict[str, Any]
    reported: tuple[str, ...] = ()


def decode(
    body: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> ResponsesRequest:
    """``ValidationFailed`` names the field, ``NotSupported`` what only OpenAI's own house can do.

    ``history`` is what an earlier response had, its input and output items: it goes before the new input.
    ``headers`` are the request's, by their names in lower case.
    """
    _check_names(body)
    reported = [*of_openai(headers), *(name for name in sorted(_HINTS) if body.get(name) is not None)]
    _check_house(body, reported)
    instructions, previous = text(body, "instructions"), text(body, "previous_response_id")
    items = input_items(body.get("input"), needed=not (previous or history))
    talk = Conversation(reported)
    if instructions:
        talk.messages.append(Message("system", (TextPart(instructions),)))
    for at, item in enumerate(history):
        talk.add(item, f"history[{at}]")
    for at, item in enumerate(items):
        talk.add(item, f"input[{at}]")
    parallel = _flag(body, "parallel_tool_calls")
    tools = _tools(body.get("tools"), reported)
    form, verbosity = _form(body.get("text"), reported)
    extra = {name: body[name] for name in sorted(_EXTRA) if body.get(name) is not None}
    if verbosity:
        extra["verbosity"] = verbosity
    effort = _effort(body.get("reasoning"), reported)
    named = tuple(dict.fromkeys(reported))
    chat = Chat(
        model=text(body, "model", required=True),
        messages=tuple(talk.messages),
        max_tokens=whole(body, "max_output_tokens", 1, 10**7),
        temperature=number(body, "temperature", 0, 2),
        top_p=number(body, "top_p", 0, 1),
        tools=tools,
        tool_choice=_tool_choice(body.get("tool_choice"), parallel, tools),
        response_format=form,
        reasoning_effort=effort,
        user=text(body, "user"),
        dialect="openai",
        extra=extra,
        unmapped=(*named, *signatures_of(talk.messages)),
    )
    store = _flag(body, "store")
    return ResponsesRequest(
        chat=chat,
        stream=bool(_flag(body, "stream")),
        store=store is not False,
        previous_response_id=previous,
        input_items=[whole_item(item) for item in items],
        echo=_echo(body, tools),
        reported=named,
    )


def _echo(body: Mapping[str, Any], tools: Sequence[Tool]) -> dict[str, Any]:
    """The fields that a response repeats, with OpenAI's defaults where they are plain."""
    given = {name: value for name, value in body.items() if value is not None}
    text = {name: value for name, value in given.get("text", {}).items() if value is not None}
    return {
        "background": False,
        "instructions": given.get("instructions"),
        "max_output_tokens": given.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": given.get("metadata", {}),
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "prompt_cache_key": given.get("prompt_cache_key"),
        "prompt_cache_retention": given.get("prompt_cache_retention"),
        "reasoning": {"effort": None, "summary": None, **given.get("reasoning", {})},
        "safety_identifier": given.get("safety_identifier"),
        "service_tier": given.get("service_tier"),
        "temperature": given.get("temperature"),
        "text": {"format": {"type": "text"}, **text},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description or None,
                "parameters": tool.schema,
                "strict": tool.strict,
            }
            for tool in tools
        ],
        "top_logprobs": 0,
        "top_p": given.get("top_p"),
        "truncation": "disabled",
        "user": given.get("user"),
    }


def _check_names(body: Mapping[str, Any]) -> None:
    if body.get("conversation") is not None:
        raise NotBuilt(
            "conversation: conversations are not built yet", mend="use previous_response_id", param="conversation"
        )
    for name, value in body.items():
        if name in _REFUSED:
            if value is not None and not (name == "top_logprobs" and value == 0):
                raise NotSupported(f"{name}: this gateway has no such thing", mend="leave it out", param=name)
        elif name not in _READ and name != "conversation" and name not in _EXTRA and name not in _HINTS:
            raise ValidationFailed(f"{name[:100]}: no such parameter", mend="see the responses API", param=name[:100])


def _check_house(body: Mapping[str, Any], reported: list[str]) -> None:
    """What speaks of OpenAI's own house: ``background``, ``truncation``, ``include``, ``stream_options``, …"""
    if _flag(body, "background"):
        raise NotBuilt(
            "background: responses in the background are not built yet",
            mend="stream the response, or hand it in as a batch or a task",
            param="background",
        )
    truncation = body.get("truncation")
    if truncation == "auto":
        raise NotSupported("truncation: auto is not done here", mend="use disabled", param="truncation")
    if truncation not in (None, "disabled"):
        raise ValidationFailed("truncation: auto or disabled is expected", param="truncation")
    include = body.get("include") or []
    if not isinstance(include, list) or not all(isinstance(name, str) for name in include):
        raise ValidationFailed("include: a list of texts is expected", param="include")
    for name in include:
        if name != "reasoning.encrypted_content":
            raise NotSupported(f"include: no {name[:100]} here", mend="leave it out", param="include")
        reported.append(name)
    options = _object(body.get("stream_options"), "stream_options", ("include_obfuscation",))
    if options.get("include_obfuscation"):
        reported.append("stream_options.include_obfuscation")
    metadata = _object(body.get("metadata"), "metadata")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValidationFailed("metadata: texts are expected", param="metadata")
    for name in ("service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"):
        text(body, name)


def _tools(raw: Any, reported: list[str]) -> tuple[Tool, ...]:
    if raw is not None and not isinstance(raw, list):
        raise ValidationFailed("tools: a list is expected", param="tools")
    tools = []
    for at, item in enumerate(raw or ()):
        place = f"tools[{at}]"
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str):
            raise ValidationFailed(f"{place}.type: a text is expected", param=f"{place}.type")
        if kind != "function":
            raise NotSupported(
                f"{place}: no {kind[:100]} here, only tools of type function",
                mend="leave it out, or offer a function in its place",
                param=f"{place}.type",
            )
        name = text_of(item, "name", place)
        for hint in ("async", "defer_loading"):
            if item.get(hint):
                raise NotSupported(f"{place}.{hint}: this gateway has no such thing", param=f"{place}.{hint}")
        reported += [f"tools.{hint}" for hint in ("allowed_callers", "output_schema") if item.get(hint) is not None]
        schema, strict = _object(item.get("parameters"), f"{place}.parameters"), item.get("strict")
        if strict is not None and not isinstance(strict, bool):
            raise ValidationFailed(f"{place}.strict: true or false is expected", param=f"{place}.strict")
        description = text_of(item, "description", place) if item.get("description") is not None else ""
        tools.append(Tool(name, description, schema, strict))
    return tuple(tools)


def _tool_choice(raw: Any, parallel: bool | None, tools: Sequence[Tool]) -> ToolChoice | None:
    if raw is None:
        return None if parallel is None else ToolChoice("auto", parallel=parallel)
    if raw in ("auto", "none"):
        return ToolChoice(raw, parallel=parallel)
    kind = raw.get("type") if isinstance(raw, dict) else None
    if isinstance(kind, str) and kind != "function":
        raise NotSupported(f"tool_choice: {kind[:100]} is not taken here", param="tool_choice")
    if raw != "required" and (kind != "function" or not isinstance(raw.get("name"), str)):
        raise ValidationFailed("tool_choice: auto, none, required or a function is expected", param="tool_choice")
    if not tools:
        raise ValidationFailed("tool_choice: there are no tools to choose from", param="tool_choice")
    return ToolChoice("required", parallel=parallel) if kind is None else ToolChoice("tool", raw["name"], parallel)


def _form(raw: Any, reported: list[str]) -> tuple[ResponseFormat | None, str]:
    """The format and the verbosity of ``text``."""
    given = _object(raw, "text", ("format", "verbosity"))
    verbosity = given.get("verbosity") or ""
    if verbosity not in ("", "low", "medium", "high"):
        raise ValidationFailed("text.verbosity: low, medium or high is expected", param="text.verbosity")
    form = given.get("format")
    if form is None:
        return None, verbosity
    kind = form.get("type") if isinstance(form, dict) else None
    if kind in ("text", "json_object"):
        return ResponseFormat(kind), verbosity
    if kind != "json_schema":
        raise ValidationFailed(
            "text.format.type: text, json_object or json_schema is expected", param="text.format.type"
        )
    if not isinstance(form.get("schema"), dict):
        raise ValidationFailed("text.format.schema: an object is expected", param="text.format.schema")
    strict = form.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise ValidationFailed("text.format.strict: true or false is expected", param="text.format.strict")
    if form.get("description") is not None:
        reported.append("text.format.description")
    return ResponseFormat("json_schema", text_of(form, "name", "text.format"), form["schema"], strict), verbosity


def _effort(raw: Any, reported: list[str]) -> str:
    given = _object(raw, "reasoning", ("effort", "summary", "generate_summary", "context", "mode"))
    if given.get("mode") not in (None, "standard"):
        raise NotSupported("reasoning.mode: only standard is done here", param="reasoning.mode")
    reported += [f"reasoning.{name}" for name in ("summary", "generate_summary", "context") if given.get(name)]
    return "" if given.get("effort") is None else text_of(given, "effort", "reasoning")


def _object(raw: Any, place: str, names: Sequence[str] | None = None) -> dict[str, Any]:
    """An object or nothing; of these ``names`` only, where they are given."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ValidationFailed(f"{place}: an object is expected", param=place)
    for name in raw if names is not None else ():
        if name not in (names or ()):
            where = f"{place}.{name[:100]}"
            raise ValidationFailed(f"{where}: no such parameter", mend="see the responses API", param=where)
    return raw


def _flag(body: Mapping[str, Any], name: str) -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValidationFailed(f"{name}: true or false is expected", param=name)
    return value
