"""Every door's description, and every component, in one place each."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described import (
    access,
    anthropic_bodies,
    inference,
    model_shapes,
    models,
    money,
    money_shapes,
    openai_bodies,
    v1,
    work,
    work_bodies,
    work_shapes,
)
from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.shapes import Schema, maybe, text, told, whole

DOORS: DescribedDoors = {**access.DOORS, **inference.DOORS, **models.DOORS, **money.DOORS, **v1.DOORS, **work.DOORS}
_PROBLEM = told(
    {
        "type": text(said="a URI of the kind of problem"),
        "title": text(),
        "status": whole(400, 599),
        "detail": text(said="what is wrong"),
        "code": text(said="stable: programs may look at it"),
        "request_id": text(said="the log has it by this"),
    },
    {
        "mend": maybe(text(said="how to mend it")),
        "param": maybe(text(said="the field or parameter that is wrong")),
        "details": {"type": "object"},
    },
    said="an error as RFC 9457 has it",
)
COMPONENTS: Mapping[str, Schema] = {
    **work_shapes.COMPONENTS,
    **work_bodies.COMPONENTS,
    **model_shapes.COMPONENTS,
    **money_shapes.COMPONENTS,
    **access.COMPONENTS,
    **inference.COMPONENTS,
    **v1.COMPONENTS,
    **openai_bodies.COMPONENTS,
    **anthropic_bodies.COMPONENTS,
    "Problem": _PROBLEM,
}


def described(method: str, path: str) -> Described | None:
    """What is said of a door; ``None`` for a page of the dashboard."""
    return DOORS.get((method, path))
