"""Doors that are designed and not built: they say so, in the door's own words, to those who may knock."""

from __future__ import annotations

from starlette.responses import Response

from gateway.api.doors import Call, Doors, Handler
from gateway.errors import NotBuilt

_DOORS = (("POST", "/v1/completions", "llm:execute", "legacy completions"),)


def add(doors: Doors) -> None:
    """Registers these routes."""
    for method, path, permission, what in _DOORS:
        doors.add(method, path, permission, _refusing(what), summary=f"Not built yet: {what}")


def _refusing(what: str) -> Handler:
    async def refuse(_call: Call) -> Response:
        raise NotBuilt(f"{what}: not built yet", mend="use /v1/chat/completions, /v1/messages or /execute/ml")

    return refuse
