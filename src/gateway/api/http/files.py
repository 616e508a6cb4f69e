"""``/v1/files``: what batches read and write, stored and told part by part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import after_of, limit_of, listed
from gateway.api.multipart import FormReader
from gateway.clock import SECOND
from gateway.errors import BadRequest, BodyTooLarge, NotSupported, ValidationFailed
from gateway.store.file_store import KEEP_SECONDS, LARGEST, PART, KeptFile, SqlFileStore
from gateway.tasks.batch_desk import expiry_seconds

#: How long an upload may be silent, in seconds.
_IDLE = 30.0
_FORM_OVERHEAD = 65_536
_EXPIRES = ("expires_after[anchor]", "expires_after[seconds]")


async def upload(call: Call) -> Response:
    """The file is there for its tenant once all of it is; an upload that breaks off leaves nothing."""
    form = FormReader(call.request.headers)
    length = call.request.headers.get("content-length", "")
    if length.isdigit() and int(length) > LARGEST + _FORM_OVERHEAD:
        raise _too_large()
    files = call.services.files
    name = await asyncio.to_thread(files.begin, call.caller.tenant)
    try:
        await _receive(call, form, files, name)
        purpose, filename, seconds = _checked(form)
        kept = await asyncio.to_thread(files.ready, name, purpose, filename, form.size, seconds)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(files.discard, name))
        raise
    return json_response(file_view(kept))


async def _receive(call: Call, form: FormReader, files: SqlFileStore, name: str) -> None:
    number = 0
    body = call.request.stream()
    try:
        while True:
            async with asyncio.timeout(_IDLE):
                chunk = await anext(body, None)
            if chunk is None:
                break
            form.feed(chunk)
            if form.size > LARGEST:
                raise _too_large()
            while len(form.pending) >= PART:
                await asyncio.to_thread(files.append, name, number, form.take(PART))
                number += 1
    except TimeoutError:
        raise BadRequest(f"the upload was silent for {_IDLE:g} s", mend="upload the file again") from None
    except ClientDisconnect:
        raise BadRequest("the client left before its file was whole") from None
    form.close()
    if form.pending:
        await asyncio.to_thread(files.append, name, number, form.take(PART))


def _checked(form: FormReader) -> tuple[str, str, int]:
    """Purpose, file name and how long the file is kept."""
    for name in form.fields:
        if name not in ("purpose", *_EXPIRES):
            raise ValidationFailed(f"{name[:100]}: no such field", param=name[:100])
    purpose = form.fields.get("purpose", "")
    if purpose != "batch":
        raise NotSupported("purpose: only batch is taken here", param="purpose")
    filename = (form.filename or "upload").replace("\\", "/").rsplit("/", 1)[-1][:255]
    if not filename.isprintable():
        raise ValidationFailed("file: a printable file name is expected", param="file")
    if not form.size:
        raise ValidationFailed("file: the file is empty", param="file")
    if not any(name in form.fields for name in _EXPIRES):
        return purpose, filename, KEEP_SECONDS
    anchor, seconds = (form.fields.get(name, "") for name in _EXPIRES)
    given = {"anchor": anchor, "seconds": int(seconds) if seconds.isdecimal() and len(seconds) < 10 else None}
    return purpose, filename, expiry_seconds(given, "expires_after") or KEEP_SECONDS


async def listing(call: Call) -> Response:
    order = call.query("order") or "desc"
    if order not in ("asc", "desc"):
        raise ValidationFailed("order: asc or desc", param="order")
    limit = limit_of(call, 1_000, 10_000)
    found = await asyncio.to_thread(
        call.services.files.list,
        call.caller.tenant,
        purpose=call.query("purpose"),
        after=after_of(call, "file"),
        newest=order == "desc",
        limit=limit + 1,
    )
    return json_response(listed([file_view(item) for item in found], limit))


async def show(call: Call) -> Response:
    return json_response(file_view(await _found(call)))


async def content(call: Call) -> Response:
    """The bytes, one part of them in memory at a time."""
    kept = await _found(call)
    files = call.services.files

    async def parts() -> AsyncIterator[bytes]:
        number = 0
        while (part := await asyncio.to_thread(files.part, kept.file_id, number)) is not None:
            yield part
            number += 1

    headers = {"content-length": str(kept.size), "x-content-type-options": "nosniff"}
    return StreamingResponse(parts(), 200, headers, "application/octet-stream")


async def remove(call: Call) -> Response:
    name = call.path("file_id")
    await asyncio.to_thread(call.services.files.delete, call.caller.tenant, name)
    return json_response({"id": name, "object": "file", "deleted": True})


def file_view(kept: KeptFile) -> dict[str, Any]:
    """A file as OpenAI writes it."""
    return {
        "id": kept.file_id,
        "object": "file",
        "bytes": kept.size,
        "created_at": kept.created_at // SECOND,
        "expires_at": kept.expires_at // SECOND,
        "filename": kept.filename,
        "purpose": kept.purpose,
        "status": "processed",
        "status_details": None,
    }


async def _found(call: Call) -> KeptFile:
    return await asyncio.to_thread(call.services.files.get, call.caller.tenant, call.path("file_id"))


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the file is larger than {LARGEST} bytes", mend="send it in several files", param="file")


def add(doors: Doors) -> None:
    """Registers these routes."""
    path = "/v1/files/{file_id}"
    doors.add("POST", "/v1/files", "llm:execute", upload, summary="Upload a file for a batch (multipart/form-data)")
    doors.add("GET", "/v1/files", "llm:execute", listing, summary="List files")
    doors.add("GET", path, "llm:execute", show, summary="A file")
    doors.add("GET", f"{path}/content", "llm:execute", content, summary="The bytes of a file")
    doors.add("DELETE", path, "llm:execute", remove, summary="Delete a file")
