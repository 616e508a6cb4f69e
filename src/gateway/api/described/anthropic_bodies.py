"""What goes into ``/v1/messages`` and comes out of it, in Anthropic's dialect."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.openai_bodies import PROMPT, nullable, part
from gateway.api.described.shapes import (
    ANY,
    COUNT,
    FREE,
    NOTHING,
    TRUTH,
    Schema,
    asked,
    many,
    maybe,
    number,
    one_of,
    ref,
    text,
    told,
    whole,
)

_T = text()
_CONTENT: Schema = {"oneOf": [_T, many(ref("ContentBlock"))]}
_SOURCE: Schema = {
    "oneOf": [
        part("base64", {"data": _T, "media_type": _T}),
        part("url", {"url": _T}),
        part("file", {"file_id": _T}),
    ]
}
_BLOCKS: Mapping[str, Schema] = {
    "TextBlock": part("text", {"text": _T}),
    "ImageBlock": part("image", {"source": ref("ImageSource")}),
    "ToolUseBlock": told({"type": one_of(("tool_use",)), "id": _T, "name": _T}, {"input": FREE}),
    "ToolResultBlock": told(
        {"type": one_of(("tool_result",)), "tool_use_id": _T}, {"content": _CONTENT, "is_error": TRUTH}
    ),
    "ThinkingBlock": told({"type": one_of(("thinking",)), "thinking": _T}, {"signature": _T}),
    "DocumentBlock": part("document", {"source": FREE}),
    "RedactedThinkingBlock": part("redacted_thinking", {"data": _T}),
}
_FIELDS: Mapping[str, Schema] = {
    "model": text(1),
    "messages": many(told({"role": one_of(("user", "assistant", "system")), "content": maybe(_CONTENT)}), 1),
    **nullable(
        {
            "system": _CONTENT,
            "temperature": number(0, 1),
            "top_p": number(0, 1),
            "stop_sequences": many(_T),
            "stream": TRUTH,
            "tools": many(
                told(
                    {"name": _T},
                    {"type": _T, "description": maybe(_T), "input_schema": maybe(FREE), "strict": maybe(TRUTH)},
                )
            ),
            "tool_choice": {
                "oneOf": [part(kind, {}) for kind in ("auto", "any", "none")] + [part("tool", {"name": _T})]
            },
            "metadata": told({}, {"user_id": maybe(_T)}),
            "top_k": whole(0),
            "thinking": FREE,
            "service_tier": _T,
            "container": ANY,
            "mcp_servers": many(FREE),
            "context_management": FREE,
            "output_config": told(
                {},
                {"effort": maybe(_T), "format": maybe(part("json_schema", {"schema": FREE}))},
            ),
            "cache_control": FREE,
            "inference_geo": _T,
            "speed": _T,
            "diagnostics": FREE,
            "compaction": FREE,
        }
    ),
    "prompt": PROMPT,
    **dict.fromkeys(("thread", "fallbacks", "fallback_credit_token", "billing_policy"), NOTHING),
}
_PROMPTED: Schema = {"required": ["prompt"]}
_USAGE = told({"input_tokens": COUNT, "output_tokens": COUNT})
_OTHERS = "a block that only Anthropic has (document, redacted_thinking, server_tool_use, …) goes to it as it stands"

COMPONENTS: Mapping[str, Schema] = {
    "ContentBlock": {
        "description": _OTHERS,
        "anyOf": [ref(name) for name in _BLOCKS],
    },
    **_BLOCKS,
    "ImageSource": _SOURCE,
    "MessagesRequest": asked(
        {},
        {"max_tokens": whole(1, 10**7), **_FIELDS},
        anyOf=[{"required": ["model", "messages", "max_tokens"]}, _PROMPTED],
    ),
    "CountTokensRequest": asked(
        {},
        {"max_tokens": whole(1, 10**7), **_FIELDS},
        anyOf=[{"required": ["model", "messages"]}, _PROMPTED],
    ),
    "Message": {
        **told(
            {
                "id": _T,
                "type": one_of(("message",)),
                "role": one_of(("assistant",)),
                "model": _T,
                "content": many({**told({"type": _T}), "additionalProperties": True}),
                "stop_reason": maybe(_T),
                "stop_sequence": maybe(_T),
                "usage": {**_USAGE, "additionalProperties": True},
            }
        ),
        "additionalProperties": True,
    },
    "AnthropicError": told(
        {
            "type": one_of(("error",)),
            "error": told({"type": _T, "message": _T}, {"code": _T, "details": FREE}),
            "request_id": _T,
        },
        said="an error in Anthropic's shape",
    ),
}
