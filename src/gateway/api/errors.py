"""Errors in the dialect of the door they leave by."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from gateway.api.wire.headers import anthropic_limit_headers, refused_headers
from gateway.errors import GatewayError, GuardBlocked, IdempotencyMismatch, MethodNotAllowed, RateLimited, UpstreamError

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_TYPES_AT = "https://gnanam.example/errors/"

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    501: "not_implemented_error",
    503: "service_unavailable",
    504: "timeout_error",
}
#: Codes that programs written for OpenAI look for.
_OPENAI_CODES = {"context_too_long": "context_length_exceeded"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def problem(error: GatewayError, request_id: str) -> dict[str, Any]:
    """RFC 9457: type, title, status, detail; with our code, the mend, and the facts of the refusal."""
    body: dict[str, Any] = {
        "type": _TYPES_AT + error.code.replace("_", "-"),
        "title": (type(error).__doc__ or error.code).strip().splitlines()[0],
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.mend:
        body["mend"] = error.mend
    if error.param:
        body["param"] = error.param
    if error.details:
        body["details"] = _public(error.details)
    return body


def openai_error(error: GatewayError, request_id: str) -> dict[str, Any]:
    """OpenAI's error object."""
    message = f"{error.message} ({error.mend})" if error.mend else error.message
    inner: dict[str, Any] = {
        "message": message,
        "type": _OPENAI_TYPES.get(error.status, "server_error"),
        "param": error.param,
        "code": _OPENAI_CODES.get(error.code, error.code),
        "request_id": request_id,
    }
    if error.details:
        inner["details"] = _public(error.details)
    return {"error": inner}


def anthropic_error(error: GatewayError, request_id: str) -> dict[str, Any]:
    """Anthropic's error object."""
    message = f"{error.message} ({error.mend})" if error.mend else error.message
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    inner: dict[str, Any] = {"type": kind, "message": message, "code": error.code}
    if error.details:
        inner["details"] = _public(error.details)
    return {"type": "error", "error": inner, "request_id": request_id}


def inference_error(error: GatewayError, request_id: str) -> dict[str, Any]:
    """The Open Inference Protocol's error object; its clients read ``error`` alone."""
    message = f"{error.message} ({error.mend})" if error.mend else error.message
    return {"error": message, "code": error.code, "request_id": request_id}


def dialect_of(path: str) -> str:
    """``anthropic``, ``openai``, ``inference`` or ``gateway``, by the door's path."""
    if path == "/v2" or path.startswith("/v2/"):
        return "inference"
    if path.startswith("/v1/messages"):
        return "anthropic"
    return "openai" if path.startswith("/v1/") or path == "/v1" else "gateway"


def body_of(error: GatewayError, path: str, request_id: str, *, anthropic: bool = False) -> tuple[bytes, str]:
    """(body, media type) of the error in the dialect of the path, or Anthropic's where its caller speaks that."""
    dialect = "anthropic" if anthropic else dialect_of(path)
    if dialect == "openai":
        return _ENCODER.encode(openai_error(error, request_id)), "application/json"
    if dialect == "anthropic":
        return _ENCODER.encode(anthropic_error(error, request_id)), "application/json"
    if dialect == "inference":
        return _ENCODER.encode(inference_error(error, request_id)), "application/json"
    return _ENCODER.encode(problem(error, request_id)), "application/problem+json"


def status_of(error: GatewayError, path: str) -> int:
    """The status of the error at the door of ``path``: programs written for OpenAI, Anthropic and
    inference servers know a bad request as 400 alone. (A key used twice is 422 everywhere.)"""
    bad = error.status == 422 and not isinstance(error, IdempotencyMismatch)
    return 400 if bad and dialect_of(path) != "gateway" else error.status


def headers_of(error: GatewayError, path: str) -> dict[str, str]:
    """``Retry-After`` where there is one to tell, whether an SDK should try again by itself, and what the limit is
    that refused a call, as the door's SDK reads it."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after * 1000)))
    elif error.status in (429, 503) and error.retryable and not isinstance(error, RateLimited):
        headers["retry-after"] = "1"
    if isinstance(error, RateLimited):
        headers |= refused_headers(error)
        if dialect_of(path) == "anthropic":
            headers |= anthropic_limit_headers(error)
        if error.retry_after is None:  # this call never fits
            return {**headers, "x-should-retry": "false"}
    # A provider that has refused did no work (and was not charged); one that fell silent may have.
    told = "upstream_status" in error.details
    worked = isinstance(error, UpstreamError) and bool(error.details.get("reached")) and not told
    headers["x-should-retry"] = "true" if error.retryable and not worked else "false"
    if isinstance(error, GuardBlocked):
        headers["x-gateway-guards"] = f"{error.details.get('guard', '')}=block"
    if isinstance(error, MethodNotAllowed) and error.details.get("allowed"):
        headers["allow"] = ", ".join(error.details["allowed"])
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="gateway"'
    return headers


def _public(details: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != "reached"}
