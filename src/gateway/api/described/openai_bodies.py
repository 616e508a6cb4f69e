"""Bodies of the doors under ``/v1`` that speak OpenAI's dialect, as ``api.wire`` reads them."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.shapes import (
    ANY,
    FREE,
    NOTHING,
    NUMBER,
    TRUTH,
    Schema,
    asked,
    by_name,
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
_MOST = 10**7
_IMAGE = told({"url": text(like="^(https?://|data:image/[^;,]+;base64,)")}, {"detail": _T})


def nullable(fields: Mapping[str, Schema]) -> dict[str, Schema]:
    """Fields that may be ``null``, as SDKs write what is left out."""
    return {name: maybe(schema) if schema else schema for name, schema in fields.items()}


def part(kind: str, fields: Mapping[str, Schema]) -> Schema:
    """A part of a turn, told apart by its type."""
    return told({"type": one_of((kind,)), **fields})


_SAID: Schema = {"not": NOTHING}
PROMPT = asked(
    {"id": text(1)},
    {
        "version": maybe({"oneOf": [whole(1, 2**31 - 1), text(like="^[1-9][0-9]{0,8}$")]}),
        "label": maybe(_T),
        "variables": maybe(FREE),
    },
    description="a stored prompt: its messages come first",
    **{"not": {"required": ["version", "label"], "properties": dict.fromkeys(("version", "label"), _SAID)}},
)
_PARTS: Mapping[str, Schema] = {
    "TextPart": part("text", {"text": _T}),
    "RefusalPart": part("refusal", {"refusal": _T}),
    "ImagePart": part("image_url", {"image_url": _IMAGE}),
    "AudioPart": part("input_audio", {"input_audio": FREE}),
    "FilePart": part("file", {"file": FREE}),
}
_FUNCTION = told({"name": _T}, {"description": maybe(_T), "parameters": maybe(FREE), "strict": maybe(TRUTH)})
_JSON_SCHEMA = told({}, {"name": _T, "description": _T, "schema": FREE, "strict": maybe(TRUTH)})
_CHAT_READ: Mapping[str, Schema] = {
    "max_tokens": whole(1, _MOST),
    "max_completion_tokens": whole(1, _MOST),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "stop": {"oneOf": [_T, many(_T, 0, 16)]},
    "seed": whole(-(2**63), 2**63 - 1),
    "n": whole(1, 16),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "tools": many(told({"function": _FUNCTION}, {"type": one_of(("function",))})),
    "tool_choice": {
        "oneOf": [
            one_of(("auto", "none", "required")),
            told({"function": told({"name": _T})}, {"type": one_of(("function",))}),
        ]
    },
    "parallel_tool_calls": TRUTH,
    "response_format": {
        "oneOf": [
            part("text", {}),
            part("json_object", {}),
            part("json_schema", {"json_schema": _JSON_SCHEMA}),
        ]
    },
    "reasoning_effort": _T,
    "user": _T,
    "stream": TRUTH,
    "stream_options": told({}, {"include_usage": TRUTH, "include_obfuscation": TRUTH}),
}
#: Carried to providers of this dialect as they stand.
_CHAT_CARRIED: Mapping[str, Schema] = {
    "logprobs": TRUTH,
    "top_logprobs": whole(0, 20),
    "logit_bias": by_name(NUMBER),
    "metadata": by_name(_T),
    "store": TRUTH,
    "service_tier": _T,
    "prediction": FREE,
    "modalities": many(_T),
    "audio": FREE,
    "safety_identifier": _T,
    "prompt_cache_key": _T,
    "prompt_cache_retention": _T,
    "prompt_cache_options": FREE,
    "verbosity": _T,
    "web_search_options": FREE,
    "functions": many(FREE),
    "function_call": ANY,
    "moderation": ANY,
}
_ITEM: Schema = {
    "anyOf": [
        told(
            {
                "role": one_of(("user", "assistant", "system", "developer")),
                "content": {"oneOf": [_T, many(FREE)]},
            },
            {"type": one_of(("message",))},
        ),
        told({"type": one_of(("function_call",)), "call_id": text(1), "name": text(1), "arguments": _T}),
        told({"type": one_of(("function_call_output",)), "call_id": text(1), "output": {"oneOf": [_T, many(FREE)]}}),
        told({"type": one_of(("reasoning", "item_reference"))}),
    ]
}
_RESPONSES: Mapping[str, Schema] = {
    "instructions": _T,
    "max_output_tokens": whole(1, _MOST),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "tools": many(
        told(
            {"type": one_of(("function",)), "name": text(1)},
            {"description": maybe(_T), "parameters": maybe(FREE), "strict": maybe(TRUTH)},
        )
    ),
    "tool_choice": {"oneOf": [one_of(("auto", "none", "required")), told({"type": one_of(("function",)), "name": _T})]},
    "user": _T,
    "parallel_tool_calls": TRUTH,
    "text": asked(
        {},
        nullable(
            {
                "format": {
                    "oneOf": [
                        part("text", {}),
                        part("json_object", {}),
                        part("json_schema", {"name": text(1), "schema": FREE}),
                    ]
                },
                "verbosity": one_of(("low", "medium", "high")),
            }
        ),
    ),
    "reasoning": asked(
        {},
        nullable(
            {
                "effort": text(1),
                "summary": _T,
                "generate_summary": _T,
                "context": _T,
                "mode": one_of(("standard",)),
            }
        ),
    ),
    "store": TRUTH,
    "stream": TRUTH,
    "stream_options": asked({}, {"include_obfuscation": TRUTH}),
    "previous_response_id": _T,
    "truncation": one_of(("disabled",)),
    "include": many(one_of(("reasoning.encrypted_content",))),
    "background": {"type": "boolean", "const": False},
    "metadata": by_name(_T),
    "service_tier": _T,
    "safety_identifier": _T,
    "prompt_cache_key": _T,
    "prompt_cache_retention": _T,
    "prompt_cache_options": FREE,
}
#: Known and refused: only OpenAI's own house has such things.
_RESPONSES_REFUSED = (
    *("conversation", "max_tool_calls", "context_management", "moderation", "image"),
    *("background_options", "access_programs"),
)
_TOKENS = many(whole(0), 1)
_INPUT: Schema = {"oneOf": [text(1), many(text(1), 1), _TOKENS, many(_TOKENS, 1)]}

COMPONENTS: Mapping[str, Schema] = {
    "ChatMessage": {
        **told(
            {"role": one_of(("system", "developer", "user", "assistant", "tool"))},
            {
                "content": {"oneOf": [_T, {"type": "null"}, many(ref("ContentPart"))]},
                "name": _T,
                "tool_calls": maybe(
                    many(
                        told(
                            {"id": _T, "function": told({"name": _T}, {"arguments": maybe(_T)})},
                            {"type": one_of(("function",))},
                        )
                    )
                ),
                "tool_call_id": _T,
                "refusal": maybe(_T),
            },
        ),
        "if": {"properties": {"role": {"const": "tool"}}},
        "then": {"required": ["tool_call_id"]},
    },
    **_PARTS,
    "ContentPart": {"oneOf": [ref(name) for name in _PARTS]},
    "ChatCompletionRequest": asked(
        {},
        {
            "model": text(1),
            "messages": many(ref("ChatMessage"), 1),
            **nullable({**_CHAT_READ, **_CHAT_CARRIED}),
            "prompt": PROMPT,
        },
        anyOf=[{"required": ["model", "messages"]}, {"required": ["prompt"]}],
    ),
    "ResponsesRequest": asked(
        {},
        {
            "model": text(1),
            "input": {"oneOf": [text(1), many(_ITEM, 1)]},
            **nullable(_RESPONSES),
            "top_logprobs": {"type": ["integer", "null"], "enum": [0, None]},
            **dict.fromkeys(_RESPONSES_REFUSED, NOTHING),
            "prompt": maybe(PROMPT),
        },
        anyOf=[
            {"required": ["model", "input"]},
            {"required": ["model", "previous_response_id"], "properties": {"previous_response_id": text(1)}},
            {"required": ["prompt"], "properties": {"prompt": {"type": "object"}}},
        ],
    ),
    "CompletionsRequest": asked(
        {"model": text(1), "prompt": {"oneOf": [text(1), many(text(1), 1, 128)]}},
        nullable(
            {
                **{name: _CHAT_READ[name] for name in ("max_tokens", "temperature", "top_p", "stop", "seed", "user")},
                **{name: _CHAT_READ[name] for name in ("presence_penalty", "frequency_penalty", "stream")},
                "stream_options": FREE,
                "suffix": _T,
                "n": whole(1, 128),
                "best_of": whole(1, 20),
                "logit_bias": FREE,
                "logprobs": whole(0, 20),
                "echo": TRUTH,
            }
        ),
    ),
    "EmbeddingsRequest": asked(
        {"model": text(1), "input": _INPUT},
        nullable(
            {
                "encoding_format": one_of(("float", "base64")),
                "dimensions": whole(1, 65_536),
                "user": _T,
                "input_type": _T,
                "truncate": ANY,
                "output_dtype": _T,
                "priority": ANY,
            }
        ),
    ),
    "ModerationsRequest": asked(
        {
            "input": {
                "oneOf": [
                    text(1),
                    many(
                        {
                            "oneOf": [
                                _T,
                                part("text", {"text": _T}),
                                part("image_url", {"image_url": told({"url": _T})}),
                            ]
                        },
                        1,
                        2_048,
                    ),
                ]
            }
        },
        {"model": maybe(_T)},
    ),
}
