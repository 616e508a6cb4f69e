"""Keys, limits, tokens, the audit trail, webhooks, and how the service is."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.param import CURSOR, Param, limit_of, name_of, word_of
from gateway.api.described.shapes import (
    COUNT,
    FREE,
    TIME,
    TRUTH,
    USD,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    one_of,
    ref,
    text,
    told,
    whole,
)
from gateway.api.described.work_shapes import TASK_STATUS
from gateway.engine.task_types import QUEUES
from gateway.models.bound import LIMIT_FIELDS, MOST
from gateway.security.access import PERMISSIONS, ROLES
from gateway.security.limit_desk import SCOPES

_T = text()
_LIMIT = maybe(whole(1, MOST))
_SUBJECT = text(1, 200, like="^[A-Za-z0-9._:/@+|=-]{1,200}$")
_LIMITS = dict.fromkeys(LIMIT_FIELDS, _LIMIT)
_WORDS = ("completion", "failure", "cancellation")
_EVENTS = (*(f"{kind}_{word}" for kind in ("task", "workflow") for word in _WORDS), "budget_alert")
_STATES = ("pending", "delivered", "dead")
_KEY: Mapping[str, Schema] = {
    "id": _T,
    "name": _T,
    "hint": text(said="the end of its secret"),
    "role": one_of(ROLES),
    "principal": _T,
    "team": maybe(_T),
    "project": maybe(_T),
    "models": many(_T, said="names, or beginnings of names with *"),
    **_LIMITS,
    "created_by": _T,
    "created_at": TIME,
    "expires_at": maybe(TIME),
    "revoked_at": maybe(TIME),
}
_SUBSCRIPTION: Mapping[str, Schema] = {
    "id": _T,
    "url": _T,
    "events": many(one_of(_EVENTS)),
    "owner": _T,
    "created_at": TIME,
    "old_secret_until": maybe(TIME),
    "disabled_at": maybe(TIME),
    "disabled_reason": maybe(_T),
}
_DELIVERY: Mapping[str, Schema] = {
    "id": _T,
    "url": _T,
    "subscription_id": maybe(_T),
    "owner": _T,
    "event": _T,
    "task_id": maybe(_T),
    "run_id": maybe(_T),
    "state": one_of(_STATES),
    "attempts": COUNT,
    "last_error": maybe(_T),
    "next_try": maybe(TIME),
    "created_at": TIME,
    "completed_at": maybe(TIME),
}
_SECRET = {"secret": text(said="signs the messages (Standard Webhooks)")}
_HEALTH = told({"status": _T, "parts": by_name(_T)})
_HOOK = "/webhooks/{subscription_id}"
_SENT = "/webhooks/deliveries"

COMPONENTS: Mapping[str, Schema] = {
    "Key": told(_KEY, said="a key, never its secret"),
    "NewKey": asked(
        {"name": text(1, 100, like=r"\S"), "role": one_of(ROLES)},
        {
            "principal": _SUBJECT,
            "team": _SUBJECT,
            "project": _SUBJECT,
            "models": many(
                text(like="^[A-Za-z0-9._:/@*-]{1,200}$"),
                1,
                said="names, or beginnings of names with *; all where it is left out",
            ),
            **_LIMITS,
            "expires_at": TIME,
            "budget": maybe(ref("BudgetOfKey")),
        },
    ),
    "MadeKey": told(
        {**_KEY, "key": text(said="the secret, this once")}, {"budget": ref("Budget")}, said="a key with its secret"
    ),
    "Limits": told(
        {"scope": one_of((*SCOPES, "model")), "subject": _T, **_LIMITS, "set_by": _T, "set_at": maybe(TIME)}
    ),
    "AuditRecord": told(
        {
            "seq": COUNT,
            "at": TIME,
            "actor": _T,
            "action": _T,
            "resource": _T,
            "outcome": _T,
            "request_id": _T,
            "detail": FREE,
            "previous": _T,
            "hash": _T,
        }
    ),
    "Webhook": told(_SUBSCRIPTION, said="a subscription, never its secret"),
    "WebhookWithSecret": told({**_SUBSCRIPTION, **_SECRET}),
    "Delivery": told(_DELIVERY),
    "WholeDelivery": told({**_DELIVERY, "body": FREE}),
}

DOORS: DescribedDoors = {
    ("POST", "/keys"): Described(
        tag="Keys", body=ref("NewKey"), answer=ref("MadeKey"), says="with a budget the key is never usable without it"
    ),
    ("GET", "/keys"): Described(
        tag="Keys", answer=told({"keys": many(ref("Key")), "next_cursor": maybe(_T)}), query=(CURSOR, limit_of())
    ),
    ("GET", "/keys/{key_id}"): Described(tag="Keys", answer=ref("Key")),
    ("DELETE", "/keys/{key_id}"): Described(tag="Keys", answer=ref("Key"), errors=(409,)),
    ("POST", "/tokens"): Described(
        tag="Keys",
        answer=told({"access_token": _T, "token_type": one_of(("bearer",)), "expires_in": whole(1, said="seconds")}),
        errors=(400,),
    ),
    ("GET", "/me"): Described(
        tag="Keys",
        answer=told(
            {
                "principal": _T,
                "role": one_of(ROLES),
                "permissions": many(one_of(PERMISSIONS)),
                "key_id": maybe(_T),
                "team": maybe(_T),
                "project": maybe(_T),
                "models": many(_T),
            }
        ),
    ),
    ("GET", "/limits"): Described(tag="Limits", answer=told({"limits": many(ref("Limits"))})),
    ("PUT", "/limits"): Described(
        tag="Limits",
        body=asked(
            {"scope": one_of(SCOPES), "subject": _SUBJECT},
            _LIMITS,
            anyOf=[{"required": [name], "properties": {name: {"type": "integer"}}} for name in LIMIT_FIELDS],
        ),
        answer=ref("Limits"),
    ),
    ("DELETE", "/limits"): Described(
        tag="Limits",
        answer=ref("Limits"),
        query=(Param("scope", one_of(SCOPES), required=True), Param("subject", _SUBJECT, required=True)),
        errors=(404,),
    ),
    ("GET", "/audit"): Described(
        tag="Audit",
        answer=told({"records": many(ref("AuditRecord")), "next_cursor": maybe(COUNT)}),
        query=(
            *(name_of(name) for name in ("actor", "action", "resource", "request_id")),
            CURSOR,
            limit_of(),
        ),
    ),
    ("GET", "/audit/verify"): Described(
        tag="Audit",
        answer=told(
            {
                "ok": TRUTH,
                "records": COUNT,
                "checkpoints": COUNT,
                "problems": many(told({"seq": {"type": "integer"}, "kind": _T, "text": _T})),
            }
        ),
    ),
    ("POST", "/webhooks"): Described(
        tag="Webhooks",
        body=asked(
            {"url": text(1, 2048, like="^https?://[^/]")},
            {"events": many(one_of(_EVENTS), said="all of tasks and runs where it is empty")},
        ),
        answer=ref("WebhookWithSecret"),
        errors=(409,),
    ),
    ("GET", "/webhooks"): Described(tag="Webhooks", answer=told({"webhooks": many(ref("Webhook"))})),
    ("GET", "/webhooks/secret"): Described(tag="Webhooks", answer=told(_SECRET)),
    ("GET", _SENT): Described(
        tag="Webhooks",
        answer=told({"deliveries": many(ref("Delivery")), "next_cursor": maybe(_T)}),
        query=(word_of("state", _STATES), name_of("subscription_id"), CURSOR, limit_of()),
    ),
    ("GET", _SENT + "/{delivery_id}"): Described(tag="Webhooks", answer=ref("WholeDelivery")),
    ("POST", _SENT + "/{delivery_id}/replay"): Described(
        tag="Webhooks", answer=told({"id": _T, "state": one_of(_STATES)}), errors=(409,)
    ),
    ("POST", _HOOK + "/rotate"): Described(
        tag="Webhooks",
        body=asked({}, {"overlap": maybe(whole(0, 30 * 86_400, said="seconds; a day where it is left out"))}),
        answer=ref("WebhookWithSecret"),
    ),
    ("POST", _HOOK + "/enable"): Described(tag="Webhooks", answer=ref("Webhook")),
    ("DELETE", _HOOK): Described(tag="Webhooks", answer=told({"id": _T, "active": TRUTH})),
    ("GET", "/"): Described(
        tag="Service",
        answer=told({"name": _T, "version": _T, "docs": _T, "dashboard": _T, "endpoints": many(_T)}),
        says="browsers are led to the dashboard",
    ),
    ("GET", "/healthz"): Described(tag="Service", answer=told({"status": one_of(("ok",))})),
    ("GET", "/readyz"): Described(
        tag="Service", answer=_HEALTH, also=503, says="503 where it is not ready: parts says which part is down"
    ),
    ("GET", "/metrics"): Described(
        tag="Service",
        media={"text/plain": {"type": "string"}},
        errors=(401, 403),
        says="needs metrics:read, but in development",
    ),
    ("GET", "/stats"): Described(
        tag="Service",
        answer=told(
            {
                "version": _T,
                "config": _T,
                "tasks": told(dict.fromkeys(TASK_STATUS, COUNT)),
                "queue_depth": told(dict.fromkeys(QUEUES, COUNT)),
                "webhooks": by_name(COUNT),
                "today": told(
                    {
                        "calls": COUNT,
                        "tokens": COUNT,
                        "cost": USD,
                        "models": many(told({"model": _T, "provider": _T, "calls": COUNT, "cost": USD})),
                    }
                ),
                "failing_deployments": by_name(COUNT),
                "monitoring": told({"prometheus_url": maybe(_T), "interval_seconds": {"type": "number"}}),
            }
        ),
    ),
}
