"""``/keys`` and ``/tokens``: make, list and revoke credentials."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.money import budget_view, check_names
from gateway.api.http.params import cursor_of, limit_of
from gateway.clock import from_rfc3339, rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field, whole_field
from gateway.ledger.budgets import Budget
from gateway.security.identity import KeyRecord

_FIELDS = (
    "name", "role", "principal", "team", "project", "models", "requests_per_minute", "tokens_per_minute",
    "max_concurrent", "expires_at", "budget",
)  # fmt: skip


async def create(call: Call) -> Response:
    """201 with the key itself, this once. With ``budget`` the key is never usable without it."""
    body = await call.body()
    refuse_unknown(body, _FIELDS, "")
    models, budget = body.get("models", ["*"]), body.get("budget")
    if not isinstance(models, list):
        raise ValidationFailed("models: a list of model names is expected", param="models")
    if budget is not None and not isinstance(budget, dict):
        raise ValidationFailed('budget: an object such as {"limit_usd": "5", "window": "day"}', param="budget")
    if budget is not None:
        check_names(call, budget)
    made: list[Budget] = []

    def act() -> tuple[KeyRecord, str]:
        return call.services.identity.create_key(
            call.caller,
            name=text_field(body, "name", required=True, longest=100),
            role=text_field(body, "role", required=True, longest=50),
            principal=text_field(body, "principal", longest=200) or None,
            team=text_field(body, "team", longest=200) or None,
            project=text_field(body, "project", longest=200) or None,
            models=tuple(models),
            requests_per_minute=whole_field(body, "requests_per_minute", "", 1, 10**9),
            tokens_per_minute=whole_field(body, "tokens_per_minute", "", 1, 10**9),
            max_concurrent=whole_field(body, "max_concurrent", "", 1, 10**9),
            expires_at=_time(body),
            before_insert=None
            if budget is None
            else lambda key_id: made.append(call.services.budgets.create_for_key(call.caller, key_id, budget)),
        )

    record, secret = await asyncio.to_thread(act)
    view = {**key_view(record), "key": secret}
    if made:
        view["budget"] = budget_view(made[0])
    return json_response(view, 201, {"location": f"/keys/{record.key_id}", "cache-control": "no-store"})


async def listing(call: Call) -> Response:
    page, cursor = await asyncio.to_thread(
        call.services.identity.list_keys, call.caller, cursor=cursor_of(call, "key"), limit=limit_of(call)
    )
    return json_response({"keys": [key_view(item) for item in page], "next_cursor": cursor})


async def show(call: Call) -> Response:
    return json_response(
        key_view(await asyncio.to_thread(call.services.identity.get_key, call.caller, call.path("key_id")))
    )


async def revoke(call: Call) -> Response:
    revoked = await asyncio.to_thread(call.services.identity.revoke_key, call.caller, call.path("key_id"))
    return json_response(key_view(revoked))


async def token(call: Call) -> Response:
    """A short-lived JWT with the rights of the key that asks."""
    minted = await asyncio.to_thread(call.services.identity.mint_token, call.caller)
    return json_response(
        {"access_token": minted.token, "token_type": "bearer", "expires_in": minted.expires_in},
        headers={"cache-control": "no-store"},
    )


async def me(call: Call) -> Response:
    """Who the credential says you are."""
    caller = call.caller
    return json_response(
        {
            "principal": caller.principal,
            "role": caller.role,
            "permissions": sorted(caller.permissions),
            "key_id": caller.key_id,
            "team": caller.team,
            "project": caller.project,
            "models": list(caller.models),
        }
    )


def key_view(record: KeyRecord) -> dict[str, Any]:
    """A key as people see it: never its secret."""
    return {
        "id": record.key_id,
        "name": record.name,
        "hint": f"…{record.hint}",
        "role": record.role,
        "principal": record.principal,
        "team": record.team,
        "project": record.project,
        "models": list(record.models),
        "requests_per_minute": record.requests_per_minute,
        "tokens_per_minute": record.tokens_per_minute,
        "max_concurrent": record.max_concurrent,
        "created_by": record.created_by,
        "created_at": rfc3339(record.created_at),
        "expires_at": None if record.expires_at is None else rfc3339(record.expires_at),
        "revoked_at": None if record.revoked_at is None else rfc3339(record.revoked_at),
    }


def _time(body: dict[str, Any]) -> int | None:
    text = text_field(body, "expires_at", longest=40)
    if not text:
        return None
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        raise ValidationFailed(
            "expires_at: a time with its zone, such as 2026-12-31T00:00:00Z", param="expires_at"
        ) from None


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add(
        "POST",
        "/keys",
        "keys:write",
        create,
        summary="Make a key (shown this once)",
        status=201,
    )
    doors.add("GET", "/keys", "keys:read", listing, summary="List keys")
    doors.add("GET", "/keys/{key_id}", "keys:read", show, summary="A key")
    doors.add("DELETE", "/keys/{key_id}", "keys:write", revoke, summary="Revoke a key")
    doors.add("POST", "/tokens", "tasks:read", token, summary="Mint a short-lived token for this key")
    doors.add("GET", "/me", "tasks:read", me, summary="Who you are here")
