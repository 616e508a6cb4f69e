"""The words of the document: what the interface is, its tags, its errors, its headers and names in paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from gateway.api.described.param import SELECTION, Param
from gateway.api.described.shapes import Schema, text, whole
from gateway.models.selection import HEADERS as SELECTION_HEADERS

DESCRIPTION = """One door to every model: language models, predictive models, durable tasks and workflows, exact cost.

Send a key with each request: `Authorization: Bearer KEY`, or `x-api-key: KEY`. `x-permission` says which permission
an operation needs; `GET /me` says which ones a key has.

Errors are `application/problem+json` (the schema Problem); under `/v1` they have OpenAI's shape, under `/v1/messages`
Anthropic's. `code` is stable, `mend` says what to do. Every answer has `x-request-id`.

Amounts are USD and exact: read them as decimals. Times are RFC 3339 in UTC. Lists are read on with `cursor` (or
`after`), as long as `next_cursor` (or `has_more`) says that there is more."""

TAGS: Mapping[str, str] = {
    "OpenAI": "doors that speak OpenAI's dialect: its SDKs work with this base URL and /v1",
    "Anthropic": "doors that speak Anthropic's dialect",
    "Files and batches": "many requests in one file",
    "Calls": "one model call, answered at once",
    "Tasks": "work in the background",
    "Workflows": "what runs are made of",
    "Runs": "workflows at work",
    "Schedules": "runs at set times",
    "Events": "what happens, as it happens",
    "Models": "what there is, its versions, and which deployment answers",
    "Prompts": "templates in versions, labels and results",
    "Usage": "what was used, what it cost and what could be saved",
    "Prices": "what models ask",
    "Budgets": "what may be spent",
    "Keys": "who may call",
    "Limits": "how much may be called in a minute, and at once",
    "Audit": "what was done by whom, and the proof",
    "Webhooks": "events sent to an address of yours",
    "Service": "how the service is",
    "Inference": "predictive models by the Open Inference Protocol: its clients work with this base URL",
}
#: By status: when it is answered.
ERRORS: Mapping[int, str] = {
    400: "the request cannot be read, or asks for what there is not",
    401: "no valid key",
    402: "a budget does not cover the call",
    403: "the key has not the permission",
    404: "there is no such thing, or it is not yours",
    409: "not in its present state; or a request with this idempotency key is on its way",
    413: "the body is too large",
    415: "the body is of another media type",
    422: "a field or parameter is wrong: param names it; or an idempotency key was used with another body or path",
    429: "a rate limit, of ours or a provider's: Retry-After says when to try again",
    501: "not built yet",
}
OTHER_ERROR = "another error: of a provider (502, 503, 504), or of ours"
GOOD: Mapping[int, str] = {
    200: "done",
    201: "made",
    202: "accepted",
    204: "done; nothing to tell",
    503: "not ready",
}
#: In paths.
PLACES: Mapping[str, str] = {
    "name": "its name",
    "label": "such as production or staging",
}
HEADERS: Mapping[str, Param] = {
    "Idempotency-Key": Param(
        "Idempotency-Key",
        text(1, 255, like=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"),
        "the same key and body give the first answer again: nothing is done or paid twice",
    ),
    "Prefer": Param("Prefer", text(), "wait=N: hold the answer back, N seconds at most"),
    "x-gateway-session": Param("x-gateway-session", text(longest=200), "what a conversation is known by"),
    "x-gateway-tags": Param(
        "x-gateway-tags",
        text(like="^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}(=[A-Za-z0-9._:/@-]{1,64})?$"),
        "kept with usage; several with commas",
    ),
    "x-gateway-cache": Param(
        "x-gateway-cache", text(like="^([0-9]{1,5}|off|semantic)$"), "seconds for which an equal answer is taken"
    ),
    "x-gateway-optimise": Param("x-gateway-optimise", text(), "how to save tokens; off for not at all"),
    "x-gateway-strict": Param("x-gateway-strict", text(like="^(1|true)$"), "refuse what a provider cannot heed"),
    **{header: replace(SELECTION[name], name=header) for header, name in SELECTION_HEADERS.items()},
    "anthropic-version": Param("anthropic-version", text(), "the caller speaks Anthropic's dialect"),
}
ANSWER_HEADERS: Mapping[str, dict[str, Any]] = {
    "Location": {"description": "where what was made is", "schema": {"type": "string"}},
    "Retry-After": {"description": "seconds", "schema": whole(1)},
    "x-gateway-model": {"description": "the model that answered", "schema": {"type": "string"}},
    "x-gateway-cost-usd": {"description": "what the call cost; not of a stream", "schema": {"type": "string"}},
}
SECURITY: Mapping[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key, or a token of POST /tokens"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "a key"},
}
