"""Request bodies: read to a cap, whoever says how long they are, and within a deadline."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from gateway.errors import BadRequest, BodyTooLarge, UnsupportedMediaType
from gateway.governance.validators import LARGEST_BODY

_SECONDS = 30.0


async def read_body(scope: Scope, receive: Receive, *, largest: int = LARGEST_BODY) -> bytes:
    """The whole body. ``BodyTooLarge`` before more than ``largest`` bytes are kept."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > largest:
        raise _too_large(largest)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BadRequest("the client left before its body was whole")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > largest:
                    raise _too_large(largest)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise BadRequest(f"the body did not arrive within {_SECONDS:g} s", mend="send it faster, or in parts") from None


def require_json(scope: Scope) -> None:
    """``UnsupportedMediaType`` unless the body is said to be JSON (or nothing is said)."""
    value = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()
    if value and value != "application/json" and not value.endswith("+json"):
        raise UnsupportedMediaType(mend="send Content-Type: application/json")


def _too_large(largest: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {largest} bytes", mend="send large data as an artifact or by reference"
    )
