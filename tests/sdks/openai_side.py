"""Chat completions as OpenAI serves them, for the provider of the SDK tests."""

from __future__ import annotations

import json
import re
from typing import Any

from sdks.mind import Refused, Thought, cut, decide, known

_FIELDS = frozenset(
    {"audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs"}
    | {"max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model", "n"}
    | {"parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_retention"}
    | {"reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store"}
    | {"stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user"}
    | {"verbosity", "web_search_options"}
)
_USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def think(body: dict[str, Any]) -> Thought:
    """The answer to a request; ``Refused`` where the API would refuse."""
    known(body, _FIELDS)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refused(400, "stream_options is only allowed when stream is enabled")
    messages = body["messages"]
    results = _results(messages)
    tools = {item["function"]["name"]: item["function"].get("parameters") or {} for item in body.get("tools") or ()}
    if not tools and (body.get("tool_choice") is not None or body.get("parallel_tool_calls") is not None):
        raise Refused(400, "tool_choice and parallel_tool_calls are only allowed when tools are specified")
    for item in body.get("tools") or ():
        if item["function"].get("strict"):
            _strict(item["function"]["parameters"])
    choice = body.get("tool_choice") or "auto"
    named = choice["function"]["name"] if isinstance(choice, dict) else ""
    if named and named not in tools:
        raise Refused(400, f"tool_choice: no tool {named}")
    return decide(
        "OpenAI-style",
        question=_text(next(turn for turn in reversed(messages) if turn["role"] == "user")),
        results=results,
        tools=tools,
        forced=named or ("any" if choice == "required" else ""),
        may_call=choice != "none",
        parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body.get("response_format")),
        encode=json.dumps,
    )


def answer(body: dict[str, Any], thought: Thought) -> dict[str, Any]:
    """The whole completion."""
    message: dict[str, Any] = {"role": "assistant", "content": thought.text or None, "refusal": None, "annotations": []}
    if thought.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in thought.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(thought)}
    return {**_head(body, "chat.completion"), "choices": [choice], "usage": _USAGE}


def chunks(body: dict[str, Any], thought: Thought) -> list[dict[str, Any]]:
    """The completion in chunks: text and arguments cut where they fall."""

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**_head(body, "chat.completion.chunk"), "choices": [choice]}

    made = [chunk({"role": "assistant", "content": None if thought.calls else "", "refusal": None})]
    made += [chunk({"content": piece}) for piece in thought.pieces()]
    for index, call in enumerate(thought.calls):
        function = {"name": call.name, "arguments": ""}
        made.append(chunk({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}))
        for piece in cut(json.dumps(call.arguments)):
            made.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    made.append(chunk({}, _finish(thought)))
    if (body.get("stream_options") or {}).get("include_usage"):
        made.append({**_head(body, "chat.completion.chunk"), "choices": [], "usage": _USAGE})
    return made


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-sdk",
        "object": kind,
        "created": 1_700_000_000,
        "model": f"{body['model']}-2024-08-06",
        "system_fingerprint": "fp_sdk",
        "service_tier": "default",
    }


def _finish(thought: Thought) -> str:
    return "tool_calls" if thought.calls else "stop"


def _results(messages: list[dict[str, Any]]) -> list[str]:
    """The results that came last; each must answer a call of the turn before them, and each call needs one."""
    waiting: list[str] = []
    results: list[str] = []
    for turn in messages:
        if turn["role"] == "tool":
            if turn["tool_call_id"] not in waiting:
                raise Refused(
                    400, "messages with role 'tool' must be a response to a preceding message with tool_calls"
                )
            waiting.remove(turn["tool_call_id"])
            results.append(_text(turn))
            continue
        if waiting:
            raise Refused(400, f"no tool message for the tool_call_ids {waiting}")
        results = []
        if turn["role"] not in ("system", "developer", "user", "assistant"):
            raise Refused(400, f"no role {turn['role']}")
        for call in turn.get("tool_calls") or ():
            json.loads(call["function"]["arguments"])
            waiting.append(call["id"])
        if turn["role"] == "assistant" and not turn.get("content") and not turn.get("tool_calls"):
            raise Refused(400, "an assistant message needs content or tool_calls")
    if waiting:
        raise Refused(400, f"no tool message for the tool_call_ids {waiting}")
    return results


def _text(turn: dict[str, Any]) -> str:
    content = turn.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _schema(form: Any) -> dict[str, Any] | None:
    if form is None or form["type"] != "json_schema":
        return None
    given = form["json_schema"]
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", given.get("name") or ""):
        raise Refused(400, "response_format.json_schema.name: letters, digits, _ and - are expected")
    if given.get("strict"):
        _strict(given["schema"])
    found: dict[str, Any] = given["schema"]
    return found


def _strict(schema: dict[str, Any]) -> None:
    if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != set(
        schema["properties"]
    ):
        raise Refused(400, "a strict schema needs additionalProperties: false and every property required")
