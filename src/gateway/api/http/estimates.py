"""``POST /workflows/{id}/estimate``: what a run will cost, before it is begun."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown
from gateway.ledger.run_forecast import NOMINAL
from gateway.money import usd


async def estimate(call: Call) -> Response:
    """The expected cost with its interval, and each step's share."""
    body = await call.body()
    refuse_unknown(body, ("input",), "")
    given = body.get("input", {})
    if not isinstance(given, dict):
        raise ValidationFailed("input: an object is expected", param="input")
    services, workflow_id = call.services, call.path("workflow_id")

    def work() -> dict[str, Any]:
        kept = services.desk.kept(call.caller, workflow_id)
        services.calls.flush()
        found = services.estimates.estimate(call.caller, kept.definition, given)
        return {
            "workflow_id": workflow_id,
            "version": kept.hash,
            "expected_usd": usd(found.expected),
            "low_usd": usd(found.low),
            "high_usd": None if found.high is None else usd(found.high),
            "basis": found.basis,
            "nominal_coverage": NOMINAL if found.basis == "history" else None,
            "runs": found.runs,
            "steps": [
                {
                    "step_id": step.step_id,
                    "model": step.model or None,
                    "expected_usd": usd(step.expected),
                    "most_usd": None if step.most is None else usd(step.most),
                    "runs": step.runs,
                    "price_card": step.price_card or None,
                }
                for step in found.steps
            ],
        }

    return json_response(await asyncio.to_thread(work))


def add(doors: Doors) -> None:
    """Registers this route."""
    doors.add(
        "POST", "/workflows/{workflow_id}/estimate", "workflows:run", estimate, summary="What a run will cost",
    )  # fmt: skip
