"""``/usage``: what was used and what it cost, by whatever it is asked by; as JSON, CSV or Parquet."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import cursor_of, limit_of, only_queries, texts_of, whole_of
from gateway.api.wire.tables import Column, file_response, format_of
from gateway.clock import SECOND, from_rfc3339, rfc3339
from gateway.errors import ValidationFailed
from gateway.ledger.cost_tracker import CostTracker
from gateway.ledger.entry import Entry, UsageFilter
from gateway.ledger.forecast import NOMINAL, Forecast
from gateway.ledger.usage_ask import DIMENSIONS, WORDS, UsageAsk, UsageSum
from gateway.ledger.usage_time import midnight_of_text, zone_of
from gateway.money import usd

#: Other words for the names that an entry has.
ALIASES = {word: name for name, word in WORDS.items()}
_COUNTS = (
    "calls", "entries", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
)  # fmt: skip
#: What calls are told apart by, in the words of callers and of entries.
FILTERS = ("model", "provider", "key", "user", "team", "workflow", "kind", "outcome", "basis", "tag", *ALIASES.values())
TIMES = ("since", "until")
_OF_ENTRIES = (
    *("model", "provider", "key", "user", "team", "kind", "run_id", "task_id", "request_id", "key_id", "principal"),
    *TIMES,
)
_AGO = re.compile(r"(\d{1,5})([hd])")


async def usage(call: Call) -> Response:
    """Sums by the groups asked for (``by=model,day``), beside the total."""
    only_queries(call, "by", *FILTERS, *TIMES, "time_zone", "order", "limit", "format", "run_id", "task_id")
    kind = format_of(call.query("format"))
    names = texts_of(call, "by") or ("model", "provider", "kind")
    by = tuple(ALIASES.get(name, name) for name in names)
    ask = ask_of(call, by)
    service = call.services.usage
    rows = await asyncio.to_thread(service.summary, ask)
    total = await asyncio.to_thread(service.summary, msgspec.structs.replace(ask, by=())) if kind == "json" else []
    shown = [dict(zip(names, row.group.values(), strict=True)) | _sums(row) for row in _ordered(call, rows)]
    if kind != "json":
        return file_response(kind, "usage", _columns(names), shown)
    return json_response(
        {
            "total_cost": usd(sum(row.sums["cost"] for row in total)),
            "calls": sum(row.sums["calls"] for row in total),
            "rows": shown,
        }
    )


async def summary(call: Call) -> Response:
    """What a ``CostTracker`` over this gateway's ledger says. ``alert``: whether this UTC day has reached
    COST_ALERT_THRESHOLD."""
    only_queries(call)
    settings = call.services.settings
    found = await asyncio.to_thread(CostTracker(call.services.usage).get_cost_summary)
    threshold, today = settings.cost_alert_threshold, rfc3339(call.services.clock.now())[:10]
    watched = settings.cost_tracking_enabled and threshold is not None
    return json_response({**found, "alert": watched and found["by_day"].get(today, 0) >= threshold})


async def forecast(call: Call) -> Response:
    """What the month will have cost at its end."""
    only_queries(call, *FILTERS, "time_zone")
    found = await asyncio.to_thread(call.services.usage.forecast, ask_of(call, ()))
    return json_response(_forecast(found))


async def entries(call: Call) -> Response:
    """The entries themselves, newest first."""
    only_queries(call, *_OF_ENTRIES, "cursor", "limit")
    page, cursor = await asyncio.to_thread(
        call.services.ledger.entries, _filter(call), cursor=cursor_of(call, "entry"), limit=limit_of(call)
    )
    return json_response({"entries": [_entry(item) for item in page], "next_cursor": cursor})


def ask_of(call: Call, by: tuple[str, ...]) -> UsageAsk:
    """What the query asks for; whoever may not see everybody's usage sees their own."""
    where = {name: value for name in DIMENSIONS if name != "tags" and (value := _named(call, name)) is not None}
    if not call.caller.may("usage:read_all"):
        where["principal"] = call.caller.principal
    zone = call.query("time_zone") or "UTC"
    zone_of(zone)
    return UsageAsk(
        by=by,
        where=where,
        tag=call.query("tag") or "",
        since=_time(call, "since", zone),
        until=_time(call, "until", zone),
        zone=zone,
        run_id=call.query("run_id") or "",
        task_id=call.query("task_id") or "",
    )


def _named(call: Call, name: str) -> str | None:
    given = call.query(name)
    alias = next((word for word, meant in ALIASES.items() if meant == name), None)
    return call.query(alias) if given is None and alias is not None else given


def _time(call: Call, name: str, zone: str = "UTC") -> int | None:
    text = call.query(name)
    if text is None:
        return None
    try:
        if found := _AGO.fullmatch(text):
            return call.services.clock.now() - int(found[1]) * (24 if found[2] == "d" else 1) * 3600 * SECOND
        return from_rfc3339(text) if "T" in text else midnight_of_text(text, zone_of(zone))
    except (ValueError, OverflowError):
        raise ValidationFailed(
            f"{name}: a date (2026-01-31), a time with its zone, or how long ago (36h, 30d)", param=name
        ) from None


def _filter(call: Call) -> UsageFilter:
    own = not call.caller.may("usage:read_all")
    return UsageFilter(
        principal=call.caller.principal if own else _named(call, "principal"),
        key_id=_named(call, "key_id"),
        team=call.query("team"),
        model=call.query("model"),
        provider=call.query("provider"),
        kind=call.query("kind"),
        run_id=call.query("run_id"),
        task_id=call.query("task_id"),
        request_id=call.query("request_id"),
        since=_time(call, "since"),
        until=_time(call, "until"),
    )


def _ordered(call: Call, rows: list[UsageSum]) -> list[UsageSum]:
    """By group as it is, or the most expensive first; the first ``limit`` of them."""
    order, most = call.query("order") or "group", whole_of(call, "limit")
    if order not in ("group", "cost"):
        raise ValidationFailed("order: group or cost", param="order")
    found = sorted(rows, key=lambda row: -row.sums["cost"]) if order == "cost" else rows
    return found[:most]


def _sums(row: UsageSum) -> dict[str, Any]:
    return {
        **{name: row.sums[name] for name in _COUNTS},
        "inference_seconds": usd(row.sums["inference_micros"] * 10**4),
        "cost": usd(row.sums["cost"]),
    }


def _columns(names: tuple[str, ...]) -> list[Column]:
    groups = [Column(name) for name in names]
    counts = [Column(name, "whole") for name in _COUNTS]
    return [*groups, *counts, Column("inference_seconds", "usd"), Column("cost", "usd")]


def _forecast(found: Forecast) -> dict[str, Any]:
    past = found.backtest
    return {
        "month": found.month,
        "spent_usd": usd(found.spent),
        "expected_usd": None if found.expected is None else usd(found.expected),
        "low_usd": None if found.low is None else usd(found.low),
        "high_usd": None if found.high is None else usd(found.high),
        "nominal_coverage": NOMINAL,
        "method": found.method or None,
        "history_days": found.history_days,
        "backtest": {
            "tries": past.tries,
            "days_ahead": past.days,
            "mean_error": None if past.error is None else round(past.error, 4),
            "coverage": None if past.coverage is None else round(past.coverage, 4),
            "coverage_tries": past.covered_tries,
        },
    }


def _entry(entry: Entry) -> dict[str, Any]:
    view = {name: getattr(entry, name) for name in entry.__struct_fields__}
    tags = entry.tags.split(",") if entry.tags else []
    return {**view, "tags": tags, "cost": usd(entry.cost), "at": rfc3339(entry.at)}


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/usage", "usage:read", usage, summary="What was used and what it cost")
    doors.add("GET", "/usage/summary", "usage:read_all", summary, summary="The cost summary of the whole gateway")
    doors.add("GET", "/usage/forecast", "usage:read", forecast, summary="What the month will have cost at its end")
    doors.add("GET", "/usage/entries", "usage:read", entries, summary="Ledger entries, newest first")
