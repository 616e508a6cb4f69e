"""The doors under ``/v1``, in OpenAI's and Anthropic's dialects."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.param import limit_of, name_of, whole_of, word_of
from gateway.api.described.shapes import (
    COUNT,
    FREE,
    NUMBER,
    TIME,
    TRUTH,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    one_of,
    ref,
    text,
    told,
    whole,
)
from gateway.models.selection import HEADERS as SELECTION_HEADERS

_T = text()
_SECONDS = {"type": "integer", "description": "seconds since 1970"}
_ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
_ASKED_OF = (
    *("x-gateway-session", "x-gateway-tags", "x-gateway-cache", "x-gateway-optimise", "x-gateway-strict"),
    *SELECTION_HEADERS,
)
_GONE = told({"id": _T, "object": _T, "deleted": TRUTH})
_ENDS: Mapping[str, Schema] = {"has_more": TRUTH, "first_id": maybe(_T), "last_id": maybe(_T)}
_EXPIRES = {"anchor": one_of(("created_at",)), "seconds": whole(3_600, 2_592_000)}
_MORE = {"additionalProperties": True}


def _stream(of_what: str) -> Mapping[str, Schema]:
    return {"text/event-stream": {"type": "string", "description": f"where stream is true: {of_what}"}}


def _listed(item: Schema) -> Schema:
    return told({"object": one_of(("list",)), "data": many(item), **_ENDS})


COMPONENTS: Mapping[str, Schema] = {
    "OpenAIError": told(
        {
            "error": told(
                {"message": _T, "type": _T, "param": maybe(_T), "code": maybe(_T)},
                {"request_id": _T, "details": FREE},
            )
        },
        said="an error in OpenAI's shape",
    ),
    "EitherError": {
        "description": "AnthropicError where anthropic-version is sent",
        "oneOf": [ref("OpenAIError"), ref("AnthropicError")],
    },
    "ChatCompletion": {
        **told(
            {
                "id": _T,
                "object": one_of(("chat.completion",)),
                "created": _SECONDS,
                "model": _T,
                "choices": many(
                    {
                        **told(
                            {
                                "index": COUNT,
                                "message": {
                                    **told(
                                        {"role": one_of(("assistant",))},
                                        {"content": maybe(_T), "refusal": maybe(_T), "tool_calls": many(FREE)},
                                    ),
                                    **_MORE,
                                },
                                "finish_reason": maybe(_T),
                            }
                        ),
                        **_MORE,
                    }
                ),
                "usage": {**told({"prompt_tokens": COUNT, "completion_tokens": COUNT}), **_MORE},
            }
        ),
        **_MORE,
    },
    "Completion": {
        **told(
            {"id": _T, "object": one_of(("text_completion",)), "created": _SECONDS, "model": _T, "choices": many(FREE)}
        ),
        **_MORE,
    },
    "Response": {
        **told(
            {
                "id": _T,
                "object": one_of(("response",)),
                "created_at": _SECONDS,
                "status": _T,
                "model": _T,
                "output": many({**told({"type": _T}, {"id": _T}), **_MORE}),
                "error": maybe(FREE),
                "incomplete_details": maybe(FREE),
                "instructions": maybe(_T),
                "previous_response_id": maybe(_T),
                "store": TRUTH,
                "usage": maybe(
                    {**told({"input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT}), **_MORE}
                ),
            }
        ),
        **_MORE,
    },
    "Embeddings": told(
        {
            "object": one_of(("list",)),
            "data": many(
                told({"object": one_of(("embedding",)), "index": COUNT, "embedding": {"oneOf": [_T, many(NUMBER)]}})
            ),
            "model": _T,
            "usage": told({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        }
    ),
    "ModelRow": told(
        {"id": _T, "type": one_of(("model",)), "created_at": TIME, "display_name": _T},
        {
            "object": one_of(("model",)),
            "created": _SECONDS,
            "owned_by": _T,
            "lifecycle": _T,
            "max_input_tokens": maybe(COUNT),
            "max_tokens": maybe(COUNT),
        },
    ),
    "File": told(
        {
            "id": _T,
            "object": one_of(("file",)),
            "bytes": COUNT,
            "created_at": _SECONDS,
            "expires_at": _SECONDS,
            "filename": _T,
            "purpose": _T,
            "status": _T,
            "status_details": maybe(_T),
        }
    ),
    "NewBatch": asked(
        {
            "input_file_id": text(1),
            "endpoint": one_of(_ENDPOINTS),
            "completion_window": one_of(("24h",)),
        },
        {
            "metadata": maybe({**by_name(text(longest=512)), "maxProperties": 16, "propertyNames": {"maxLength": 64}}),
            "output_expires_after": maybe(asked(_EXPIRES)),
        },
    ),
    "Batch": told(
        {
            "id": _T,
            "object": one_of(("batch",)),
            "endpoint": _T,
            "errors": maybe(told({"object": one_of(("list",)), "data": many(FREE)})),
            "input_file_id": _T,
            "completion_window": _T,
            "status": _T,
            "output_file_id": maybe(_T),
            "error_file_id": maybe(_T),
            **dict.fromkeys(("created_at", "expires_at"), _SECONDS),
            **dict.fromkeys(
                (
                    *("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at"),
                    *("cancelling_at", "cancelled_at"),
                ),
                maybe(_SECONDS),
            ),
            "request_counts": told(dict.fromkeys(("total", "completed", "failed"), COUNT)),
            "metadata": maybe(by_name(_T)),
            "usage": maybe(FREE),
            "task_id": _T,
            "gateway": maybe(FREE),
        }
    ),
}
_FORM = asked(
    {
        "file": {"type": "string", "minLength": 1, "contentMediaType": "application/octet-stream"},
        "purpose": one_of(("batch",)),
    },
    {f"expires_after[{name}]": schema for name, schema in _EXPIRES.items()},
    dependentRequired={
        "expires_after[anchor]": ["expires_after[seconds]"],
        "expires_after[seconds]": ["expires_after[anchor]"],
    },
)
_FILE, _BATCH, _RESPONSE = "/v1/files/{file_id}", "/v1/batches/{batch_id}", "/v1/responses/{response_id}"
_ORDER = word_of("order", ("asc", "desc"), default="desc")
_AFTER = name_of("after", "the last id of the page before")

#: Those that ``dataplane`` serves, without a framework.
HOT_DOORS: DescribedDoors = {
    ("POST", "/v1/chat/completions"): Described(
        tag="OpenAI",
        body=ref("ChatCompletionRequest"),
        answer=ref("ChatCompletion"),
        media=_stream("chunks of the answer as OpenAI writes them, then [DONE]"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("POST", "/v1/completions"): Described(
        tag="OpenAI",
        body=ref("CompletionsRequest"),
        answer=ref("Completion"),
        media=_stream("pieces of the answer as OpenAI writes them, then [DONE]"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("POST", "/v1/responses"): Described(
        tag="OpenAI",
        body=ref("ResponsesRequest"),
        answer=ref("Response"),
        media=_stream("OpenAI's events of a response"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("POST", "/v1/embeddings"): Described(
        tag="OpenAI",
        body=ref("EmbeddingsRequest"),
        answer=ref("Embeddings"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("GET", "/v1/models"): Described(
        tag="OpenAI",
        answer=told({"data": many(ref("ModelRow")), **_ENDS}, {"object": one_of(("list",))}),
        query=(
            limit_of(20, 1000),
            name_of("after_id"),
            name_of("before_id"),
            word_of("lifecycle", ("active", "deprecated", "retired")),
        ),
        headers=("anthropic-version",),
        errors=(404,),
        says="all in one page; in Anthropic's shape and page by page where anthropic-version is sent",
    ),
    ("GET", "/v1/models/{name}"): Described(tag="OpenAI", answer=ref("ModelRow"), headers=("anthropic-version",)),
    ("POST", "/v1/messages"): Described(
        tag="Anthropic",
        body=ref("MessagesRequest"),
        answer=ref("Message"),
        media=_stream("Anthropic's events of a message"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("POST", "/v1/messages/count_tokens"): Described(
        tag="Anthropic", body=ref("CountTokensRequest"), answer=told({"input_tokens": COUNT}), calls=True
    ),
}
#: Their summaries and permissions; the other doors say them where they are registered.
HOT_SUMMARIES: Mapping[tuple[str, str], str] = {
    ("POST", "/v1/chat/completions"): "Chat completions, in OpenAI's dialect",
    ("POST", "/v1/completions"): "The older completions, in OpenAI's dialect",
    ("POST", "/v1/responses"): "Responses, in OpenAI's dialect",
    ("POST", "/v1/embeddings"): "Embeddings, in OpenAI's dialect",
    ("GET", "/v1/models"): "Models that a door under /v1 can be asked for",
    ("GET", "/v1/models/{name}"): "One of them",
    ("POST", "/v1/messages"): "Messages, in Anthropic's dialect",
    ("POST", "/v1/messages/count_tokens"): "How many tokens a message has",
}

DOORS: DescribedDoors = {
    ("POST", "/v1/moderations"): Described(
        tag="OpenAI",
        body=ref("ModerationsRequest"),
        answer={**told({"id": _T, "model": _T, "results": many({**told({"flagged": TRUTH}), **_MORE})}), **_MORE},
        once=True,
        calls=True,
    ),
    ("GET", _RESPONSE): Described(
        tag="OpenAI",
        answer=ref("Response"),
        query=(
            *(
                name_of(name, "not built, but false")
                for name in ("stream", "starting_after", "include_obfuscation", "include")
            ),
        ),
        errors=(501,),
    ),
    ("DELETE", _RESPONSE): Described(tag="OpenAI", answer=_GONE),
    ("GET", _RESPONSE + "/input_items"): Described(
        tag="OpenAI",
        answer=_listed({**told({"id": _T, "type": _T}), **_MORE}),
        query=(name_of("include", "not built"), _ORDER, limit_of(20, 100), _AFTER),
        errors=(501,),
    ),
    ("POST", "/v1/files"): Described(
        tag="Files and batches", body=_FORM, body_media="multipart/form-data", answer=ref("File")
    ),
    ("GET", "/v1/files"): Described(
        tag="Files and batches",
        answer=_listed(ref("File")),
        query=(_ORDER, limit_of(1_000, 10_000), name_of("purpose"), _AFTER),
        errors=(404,),
    ),
    ("GET", _FILE): Described(tag="Files and batches", answer=ref("File")),
    ("GET", _FILE + "/content"): Described(
        tag="Files and batches",
        media={"application/octet-stream": {"type": "string", "format": "binary"}},
    ),
    ("DELETE", _FILE): Described(tag="Files and batches", answer=_GONE),
    ("POST", "/v1/batches"): Described(
        tag="Files and batches", body=ref("NewBatch"), answer=ref("Batch"), once=True, errors=(404,)
    ),
    ("GET", "/v1/batches"): Described(
        tag="Files and batches", answer=_listed(ref("Batch")), query=(limit_of(20, 100), _AFTER), errors=(404,)
    ),
    ("GET", _BATCH): Described(tag="Files and batches", answer=ref("Batch")),
    ("POST", _BATCH + "/cancel"): Described(tag="Files and batches", answer=ref("Batch"), errors=(409,)),
}
#: The handshake, which no room registers.
SOCKET = Described(
    tag="Events",
    query=(
        name_of("run_id"),
        name_of("task_id"),
        name_of("types", "with commas"),
        whole_of("last_event_id", said="go on after this event"),
    ),
    says="WebSocket: events of the schema Event as they happen. Credentials come with the handshake, or as the first "
    'message {"type": "auth", "token"}; {"type": "subscribe", "run_id"?, "task_id"?, "types"?, "last_event_id"?} '
    "narrows and resumes, as the query does",
)
