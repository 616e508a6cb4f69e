"""Request bodies: read to a cap, whoever says how long they are, and within a deadline."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from gateway.api.ready import Step
from gateway.errors import BadRequest, BodyTooLarge, UnsupportedMediaType
from gateway.governance.validators import LARGEST_BODY

_SECONDS = 30.0


async def read_body(scope: Scope, receive: Receive, *, largest: int = LARGEST_BODY) -> bytes:
    """The whole body. ``BodyTooLarge`` before more than ``largest`` bytes are kept."""
    for name, length in scope["headers"]:
        if name == b"content-length" and length.isdigit() and int(length) > largest:
            raise _too_large(largest)
    return await arriving(receive, largest)


async def arriving(receive: Receive, largest: int = LARGEST_BODY) -> bytes:
    """As ``read_body``, for a body whose head says nothing of its length, or nothing too large."""
    step = Step(_whole(receive, largest))
    if step.begin():  # as nearly always: it came with its head
        return await step
    loop = asyncio.get_running_loop()
    deadline = _Deadline(asyncio.current_task())
    timer = loop.call_later(_SECONDS, deadline.pass_)
    try:
        return await step
    except asyncio.CancelledError:
        if not deadline.passed:
            raise
        deadline.over()
        raise BadRequest(f"the body did not arrive within {_SECONDS:g} s", mend="send it faster, or in parts") from None
    finally:
        timer.cancel()


async def _whole(receive: Receive, largest: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client left before its body was whole")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > largest:
            raise _too_large(largest)
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def within(body: bytes, largest: int = LARGEST_BODY) -> bytes:
    """The body. ``BodyTooLarge`` where it is."""
    if len(body) > largest:
        raise _too_large(largest)
    return body


class _Deadline:
    """Cancels a task that waits too long; cheaper than a scope of time for what hardly ever waits."""

    def __init__(self, task: asyncio.Task[object] | None) -> None:
        self._task = task
        self.passed = False

    def pass_(self) -> None:
        self.passed = True
        if self._task is not None:
            self._task.cancel()

    def over(self) -> None:
        """The task goes on: it was this that cancelled it."""
        if self._task is not None:
            self._task.uncancel()


def require_json(scope: Scope) -> None:
    """``UnsupportedMediaType`` unless the body is said to be JSON (or nothing is said)."""
    given = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if given == b"application/json":
        return
    value = given.decode("latin-1").split(";")[0].strip().lower()
    if value and value != "application/json" and not value.endswith("+json"):
        raise UnsupportedMediaType(mend="send Content-Type: application/json")


def _too_large(largest: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {largest} bytes", mend="send large data as an artifact or by reference"
    )
