"""Messages as Anthropic serves them, for the provider of the SDK tests."""

from __future__ import annotations

import json
from typing import Any

from sdks.mind import Refused, Thought, cut, decide, known

_FIELDS = frozenset(
    {"cache_control", "container", "context_management", "inference_geo", "max_tokens", "mcp_servers"}
    | {"messages", "metadata", "model", "output_config", "service_tier", "speed", "stop_sequences", "stream"}
    | {"system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p"}
)
_USAGE = {
    "input_tokens": 20,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 8,
    "output_tokens": 12,
    "service_tier": "standard",
}


def think(body: dict[str, Any]) -> Thought:
    """The answer to a request; ``Refused`` where the API would refuse."""
    known(body, _FIELDS)
    if not isinstance(body.get("max_tokens"), int):
        raise Refused(400, "max_tokens: Field required")
    messages = body["messages"]
    results = _results(messages)
    tools = {item["name"]: item["input_schema"] for item in body.get("tools") or ()}
    if any(schema.get("type") != "object" for schema in tools.values()):
        raise Refused(400, "tools.input_schema.type: Input should be 'object'")
    choice = body.get("tool_choice") or {"type": "auto"}
    if "tool_choice" in body and not tools:
        raise Refused(400, "tool_choice may only be specified while providing tools")
    if choice["type"] == "tool" and choice["name"] not in tools:
        raise Refused(400, f"Tool '{choice['name']}' not found in provided tools")
    return decide(
        "Anthropic-style",
        question=_text(messages[-1]["content"]),
        results=results,
        tools=tools,
        forced={"tool": choice.get("name", ""), "any": "any"}.get(choice["type"], ""),
        may_call=choice["type"] != "none",
        parallel=not choice.get("disable_parallel_tool_use"),
        schema=_schema(body.get("output_config")),
        encode=json.dumps,
    )


def answer(body: dict[str, Any], thought: Thought) -> dict[str, Any]:
    """The whole message."""
    content: list[dict[str, Any]] = [{"type": "text", "text": thought.text}] if thought.text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": call.arguments}
        for call in thought.calls
    ]
    return {**_head(body), "content": content, "stop_reason": _stop(thought), "usage": _USAGE}


def events(body: dict[str, Any], thought: Thought) -> list[dict[str, Any]]:
    """The message as events: text and arguments cut where they fall."""
    start = {**_USAGE, "output_tokens": 1}
    made: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**_head(body), "usage": start}},
        {"type": "ping"},
    ]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if thought.text:
        pieces = [{"type": "text_delta", "text": piece} for piece in thought.pieces()]
        blocks.append(({"type": "text", "text": ""}, pieces))
    for call in thought.calls:
        pieces = [{"type": "input_json_delta", "partial_json": part} for part in ["", *cut(json.dumps(call.arguments))]]
        blocks.append(({"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}, pieces))
    for index, (block, pieces) in enumerate(blocks):
        made.append({"type": "content_block_start", "index": index, "content_block": block})
        made += [{"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces]
        made.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": _stop(thought), "stop_sequence": None}
    made.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": _USAGE["output_tokens"]}})
    return [*made, {"type": "message_stop"}]


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_sdk",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _USAGE,
    }


def _stop(thought: Thought) -> str:
    return "tool_use" if thought.calls else "end_turn"


def _results(messages: list[dict[str, Any]]) -> list[str]:
    """The results in the last turn; each must answer a use of the turn before, and each use needs one."""
    waiting: list[str] = []
    results: list[str] = []
    for at, turn in enumerate(messages):
        if turn["role"] not in ("user", "assistant"):
            raise Refused(400, f"messages.{at}.role: Input should be 'user' or 'assistant'")
        blocks = _blocks(turn["content"], at)
        results = []
        for block in blocks:
            if block["type"] == "tool_result":
                if block["tool_use_id"] not in waiting:
                    raise Refused(400, f"messages.{at}: unexpected tool_use_id {block['tool_use_id']}")
                waiting.remove(block["tool_use_id"])
                results.append(_text(block.get("content") or ""))
        if waiting:
            raise Refused(400, f"messages.{at}: tool_use ids without tool_result blocks: {waiting}")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if any(not isinstance(block["input"], dict) for block in blocks if block["type"] == "tool_use"):
            raise Refused(400, f"messages.{at}: tool_use.input: Input should be a valid dictionary")
    if waiting:
        raise Refused(400, "the last turn uses tools without results")
    return results


def _blocks(content: Any, at: int) -> list[dict[str, Any]]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not blocks or any(block["type"] == "text" and not block["text"] for block in blocks):
        raise Refused(400, f"messages.{at}: text content blocks must be non-empty")
    return list(blocks)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def _schema(config: Any) -> dict[str, Any] | None:
    form = (config or {}).get("format")
    if form is None:
        return None
    if form["type"] != "json_schema" or form["schema"].get("additionalProperties") is not False:
        raise Refused(400, "output_config.format.schema: additionalProperties: false is expected")
    found: dict[str, Any] = form["schema"]
    return found
