"""``POST /feedback``: what a caller says of an answer of theirs."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.clock import rfc3339
from gateway.errors import NotFound, ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field

_FIELDS = ("request_id", "entry_id", "score", "thumbs", "comment")
#: Seconds between looks for a call that another process answered a moment ago: its entry is on its way.
_PAUSES = (0.1, 0.3, 0.6)
_THUMBS = {"up": 1.0, "down": 0.0}


async def give(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, _FIELDS, "")
    of_request, of_entry = (text_field(body, name, longest=200) for name in ("request_id", "entry_id"))
    if bool(of_request) == bool(of_entry):
        raise ValidationFailed("one of request_id and entry_id is expected", param="request_id")
    score, comment = _score(body), text_field(body, "comment", longest=2_000)
    give_it = partial(
        call.services.feedback.give,
        call.caller,
        score=score,
        comment=comment,
        of_request=of_request,
        of_entry=of_entry,
        request_id=call.request_id,
    )
    for pause in _PAUSES:
        with contextlib.suppress(NotFound):  # asked again below
            given = await asyncio.to_thread(give_it)
            break
        await asyncio.sleep(pause)
    else:
        given = await asyncio.to_thread(give_it)
    told = {"entry_id": given.entry_id, "model": given.model, "score": given.score, "at": rfc3339(given.at)}
    return json_response(told, 201)


def _score(body: dict[str, object]) -> float:
    score, thumbs = body.get("score"), body.get("thumbs")
    if (score is None) == (thumbs is None):
        raise ValidationFailed("one of score and thumbs is expected", param="score")
    if thumbs is not None:
        if not isinstance(thumbs, str) or thumbs not in _THUMBS:
            raise ValidationFailed("thumbs: up or down is expected", param="thumbs")
        return _THUMBS[thumbs]
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise ValidationFailed("score: a number from 0 to 1 is expected", param="score")
    return float(score)


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/feedback", "llm:execute", give, summary="Score an answer of yours", status=201)
