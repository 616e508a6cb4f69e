"""The input file of a batch: JSON lines, each a request; what is wrong is told by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from msgspec import Struct

from gateway.errors import GatewayError, ValidationFailed
from gateway.governance.validators import LARGEST_BODY, decode_object
from gateway.store.file_store import SqlFileStore

MOST_LINES = 50_000
_MOST_ERRORS = 100
_LONGEST_ID = 512


class Line(Struct, frozen=True):
    """One request of a batch; ``number`` counts the file's lines from 1."""

    number: int
    custom_id: str
    body: dict[str, Any]


class Checked(Struct, frozen=True):
    """How many requests a file holds, or what is wrong with it: OpenAI's ``code, message, param, line``."""

    total: int
    errors: list[dict[str, Any]]


async def raw_lines(files: SqlFileStore, file_id: str) -> AsyncIterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers; one part of the file is in memory at a time. A
    line longer than any request comes cut."""
    rest, number, part_number = b"", 0, 0
    while (part := await asyncio.to_thread(files.part, file_id, part_number)) is not None:
        part_number += 1
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield number, line
        rest = rest[: LARGEST_BODY + 1]
    if rest.strip():
        yield number + 1, rest


def read_line(number: int, raw: bytes, endpoint: str) -> Line:
    """``ValidationFailed`` (or ``BadRequest``) names the field."""
    if len(raw) > LARGEST_BODY:
        raise ValidationFailed(f"the line is longer than {LARGEST_BODY} bytes")
    value = decode_object(raw)
    for name in value:
        if name not in ("custom_id", "method", "url", "body"):
            raise ValidationFailed(f"{name[:100]}: no such field", param=name[:100])
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _LONGEST_ID:
        raise ValidationFailed(f"custom_id: a text of 1 to {_LONGEST_ID} characters is expected", param="custom_id")
    if value.get("method") != "POST":
        raise ValidationFailed("method: POST is expected", param="method")
    if value.get("url") != endpoint:
        raise ValidationFailed(f"url: {endpoint} is expected, the endpoint of the batch", param="url")
    body = value.get("body")
    if not isinstance(body, dict):
        raise ValidationFailed("body: an object is expected", param="body")
    if not isinstance(body.get("model"), str):
        raise ValidationFailed("body.model: a text is expected", param="body.model")
    if body.get("stream"):
        raise ValidationFailed("body.stream: a batch does not stream", mend="leave it out", param="body.stream")
    return Line(number, custom_id, body)


async def check(files: SqlFileStore, file_id: str, endpoint: str) -> Checked:
    """Reads the whole file once."""
    errors: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    total = 0

    def wrong(code: str, message: str, line: int | None, param: str | None = None) -> None:
        if len(errors) < _MOST_ERRORS:
            errors.append({"code": code, "message": message, "param": param, "line": line})

    async for number, raw in raw_lines(files, file_id):
        total += 1
        if total > MOST_LINES:
            wrong("too_many_requests", f"a batch holds at most {MOST_LINES} requests", number)
            break
        try:
            line = read_line(number, raw, endpoint)
        except GatewayError as error:
            code = "invalid_request" if error.param else "invalid_json_line"
            wrong(code, f"line {number}: {error.message}", number, error.param)
            continue
        first = seen.setdefault(line.custom_id, number)
        if first != number:
            wrong("duplicate_custom_id", f"line {number}: line {first} has this custom_id too", number, "custom_id")
    if not total:
        wrong("empty_file", "the input file has no requests", None)
    return Checked(total, errors)
