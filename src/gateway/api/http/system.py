"""``/``, ``/healthz``, ``/readyz``, ``/metrics``, ``/stats``: how the service is."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import gateway
from gateway.api.doors import Call, Doors, admit, authenticate, error_response, json_response, request_id_of
from gateway.api.services import Services
from gateway.errors import GatewayError
from gateway.ledger.usage_ask import UsageAsk
from gateway.money import usd
from gateway.telemetry.metrics import CONTENT_TYPE

_LOOPBACK = ("127.0.0.1", "::1")


async def home(request: Request, services: Services) -> Response:
    """The service's card; browsers are led to the dashboard."""
    if "text/html" in request.headers.get("accept", ""):
        return Response(status_code=307, headers={"location": "/dashboard"})
    return json_response(
        {
            "name": "Gnanam AI Gateway",
            "version": gateway.__version__,
            "docs": "/openapi.json",
            "dashboard": "/dashboard",
            "endpoints": [
                "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens",
                "/v1/embeddings", "/v1/moderations", "/v1/files", "/v1/batches", "/v1/models",
                "/execute/llm", "/execute/ml", "/v2", "/tasks", "/task-types", "/workflows", "/runs", "/approvals",
                "/schedules", "/dead-letters", "/ws", "/webhooks",
                "/models", "/prompts", "/tokens/count", "/feedback", "/usage", "/savings", "/invoices", "/prices",
                "/budgets", "/keys", "/limits", "/tokens", "/me", "/audit", "/stats", "/metrics", "/healthz", "/readyz",
            ],
        }
    )  # fmt: skip


async def healthz(_request: Request, _services: Services) -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def readyz(_request: Request, services: Services) -> Response:
    """200 where requests can be served; names each part that is down."""
    parts: dict[str, str] = {}
    try:
        await asyncio.to_thread(services.ping_database)
        parts["database"] = "ok"
    except GatewayError as error:
        parts["database"] = error.message
    try:
        await asyncio.to_thread(services.calls.check)
        parts["journal"] = "ok"
    except GatewayError as error:
        parts["journal"] = error.message
    problem, epoch = services.catalogue.last_error, services.catalogue.current.epoch
    parts["configuration"] = (
        "ok" if problem is None else f"the last edit is refused: {problem.message}; {epoch} stays in force"
    )
    ready = parts["database"] == parts["journal"] == "ok"
    return json_response({"status": "ready" if ready else "not ready", "parts": parts}, 200 if ready else 503)


async def metrics(request: Request, services: Services) -> Response:
    """Prometheus text. Needs ``metrics:read``, but for this machine itself in development."""
    request_id = request_id_of("")
    try:
        peer = request.client.host if request.client else ""
        if not (services.settings.dev and peer in _LOOPBACK and "authorization" not in request.headers):
            caller = await authenticate(services, request.headers)
            await admit(services, caller, "metrics:read", "GET", "/metrics", request_id)
        page = await asyncio.to_thread(services.metrics.render, lambda: _counts(services))
    except GatewayError as error:
        return error_response(error, "/metrics", request_id)
    return Response(page, 200, media_type=CONTENT_TYPE)


async def stats(call: Call) -> Response:
    """The day's figures: tasks, queues, calls, cost by model, health of deployments."""
    services = call.services
    own = {} if call.caller.may("usage:read_all") else {"principal": call.caller.principal}
    today = UsageAsk(("model", "provider"), own, since=_midnight(services))

    def read() -> dict[str, Any]:
        rows = services.usage.summary(today)
        counts = services.desk.counts()
        return {
            "version": gateway.__version__,
            "config": services.catalogue.current.epoch,
            "tasks": counts["tasks"],
            "queue_depth": counts["queue_depth"],
            "webhooks": services.webhooks.counts(),
            "today": {
                "calls": sum(row.sums["calls"] for row in rows),
                "tokens": sum(row.sums["input_tokens"] + row.sums["output_tokens"] for row in rows),
                "cost": usd(sum(row.sums["cost"] for row in rows)),
                "models": [{**row.group, "calls": row.sums["calls"], "cost": usd(row.sums["cost"])} for row in rows],
            },
            "failing_deployments": services.health.failures(),
            "monitoring": {
                "prometheus_url": services.settings.prometheus_url or None,
                "interval_seconds": services.settings.metrics_interval,
            },
        }

    return json_response(await asyncio.to_thread(read))


def _counts(services: Services) -> dict[str, dict[str, int]]:
    return {**services.desk.counts(), "webhooks": services.webhooks.counts()}


def _midnight(services: Services) -> int:
    day = 86_400 * 1_000_000
    return services.clock.now() // day * day


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add_public("GET", "/", home, summary="What this is")
    doors.add_public("GET", "/healthz", healthz, summary="Alive")
    doors.add_public("GET", "/readyz", readyz, summary="Ready to serve")
    doors.add_public("GET", "/metrics", metrics, summary="Prometheus metrics (metrics:read)")
    doors.add("GET", "/stats", "metrics:read", stats, summary="Today in figures")
