"""Usage, savings, invoices, prices and budgets."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.param import CURSOR, Param, limit_of, name_of, whole_of, word_of
from gateway.api.described.shapes import (
    COUNT,
    NUMBER,
    TIME,
    TRUTH,
    USD,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    ref,
    text,
    told,
)
from gateway.api.described.work_bodies import AMOUNT, AMOUNT_ABOVE_0
from gateway.api.wire.tables import FORMATS
from gateway.ledger.reconciling import COLUMNS
from gateway.ledger.usage_ask import GROUPS, WORDS

_T = text()
_MONTH = text(like="^(19[89][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])$", said="2026-01")
_DATES: Schema = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}
_TIMES_OR_AGO: Schema = {**_DATES, "anyOf": [*_DATES["anyOf"], {"pattern": "^[0-9]{1,5}[hd]$"}]}
_WHEN = "a date (2026-01-31), a time with its zone, or how long ago (36h, 30d)"
#: What calls are told apart by, in the words of callers and of entries.
FILTERS = ("model", "provider", "key", "user", "team", "workflow", "kind", "outcome", "basis", "tag", *WORDS)
_FILTERS = tuple(name_of(name, f"as {WORDS[name]}" if name in WORDS else "") for name in FILTERS)
_TIMES = (Param("since", _TIMES_OR_AGO, _WHEN), Param("until", _TIMES_OR_AGO, f"not included: {_WHEN}"))
_ZONE = name_of("time_zone", "whose midnight a day begins at; UTC")
_FORMAT = word_of("format", FORMATS, default="json")
_IDS = (name_of("run_id"), name_of("task_id"))
_BY = Param(
    "by",
    text(longest=500),
    f"with commas: {', '.join(WORDS.get(name, name) for name in GROUPS)}, tag, tag.NAME; model,provider,kind",
)
_TABLES: Mapping[str, Schema] = {
    "text/csv": {"type": "string"},
    "application/vnd.apache.parquet": {"type": "string", "format": "binary"},
}
_AS_FILES = "format=csv or parquet gives the rows as a file"
_SECONDS = {"type": "number", "description": "seconds"}
_DIFFERENCE: Mapping[str, Schema] = {"entries": COUNT, "before_usd": USD, "after_usd": USD, "difference_usd": USD}

DOORS: DescribedDoors = {
    ("GET", "/usage"): Described(
        tag="Usage",
        answer=told({"total_cost": USD, "calls": COUNT, "rows": many(ref("UsageRow"))}),
        media=_TABLES,
        query=(
            _BY,
            *_FILTERS,
            *_TIMES,
            _ZONE,
            word_of("order", ("group", "cost"), default="group"),
            whole_of("limit", said="so many rows"),
            _FORMAT,
            *_IDS,
        ),
        says=_AS_FILES,
    ),
    ("GET", "/usage/summary"): Described(
        tag="Usage",
        answer=told(
            {
                "total_cost": USD,
                "calls": COUNT,
                "tokens_used": COUNT,
                "inference_time": _SECONDS,
                **{name: by_name(USD) for name in ("by_model", "by_provider", "by_kind", "by_day")},
                "alert": TRUTH,
            }
        ),
        errors=(422,),
    ),
    ("GET", "/usage/forecast"): Described(tag="Usage", answer=ref("Forecast"), query=(*_FILTERS, _ZONE)),
    ("GET", "/usage/entries"): Described(
        tag="Usage",
        answer=told({"entries": many(ref("LedgerEntry")), "next_cursor": maybe(_T)}),
        query=(
            *(name_of(name) for name in ("model", "provider", "key", "user", "team", "kind")),
            *_IDS,
            *(name_of(name) for name in ("key_id", "principal", "request_id")),
            *_TIMES,
            CURSOR,
            limit_of(),
        ),
    ),
    ("GET", "/savings"): Described(tag="Usage", answer=ref("Savings"), query=(*_FILTERS, *_TIMES, _ZONE, *_IDS)),
    ("GET", "/savings/ratings"): Described(
        tag="Usage",
        answer=told(
            {
                "rows": many(
                    told(
                        {
                            "model": _T,
                            "team": _T,
                            "workflow": _T,
                            "ratings": COUNT,
                            "mean": NUMBER,
                            "sum": NUMBER,
                            "sum_of_squares": NUMBER,
                        }
                    )
                )
            }
        ),
        query=(*_FILTERS, *_TIMES, _ZONE, *_IDS),
    ),
    ("GET", "/invoices"): Described(
        tag="Usage",
        answer=ref("Invoices"),
        media=_TABLES,
        query=(Param("month", _MONTH, "of time_zone", required=True), name_of("team"), _ZONE, _FORMAT),
        says=_AS_FILES,
    ),
    ("POST", "/invoices/reconcile"): Described(
        tag="Usage",
        body=asked(
            {
                "provider": text(1, said="its name in providers.yaml"),
                "month": _MONTH,
                "csv": text(1, 20_000_000, like=r"\n", said="the invoice, with a line of names"),
            },
            {
                "columns": asked({}, dict.fromkeys(COLUMNS, _T), description="names of its columns"),
                "models": by_name(_T, said="its names of models, and the ledger's for them"),
                "tolerance_usd": {**AMOUNT, "default": "0.01"},
            },
        ),
        answer=ref("Reconciliation"),
        media=_TABLES,
        query=(_FORMAT,),
        says=_AS_FILES,
    ),
    ("GET", "/prices"): Described(
        tag="Prices",
        answer=told({"prices": many(ref("Price"))}),
        query=(
            name_of("model"),
            Param("at", _DATES, "a date, or a time with its zone"),
            Param("known_at", _DATES, "as it was known at this time"),
        ),
        errors=(404,),
    ),
    ("GET", "/prices/check"): Described(
        tag="Prices",
        answer=told(
            {
                "checked": COUNT,
                "without_price": many(_T),
                "not_charged": many(_T),
                "changed": many(told({"model": _T, "charged_by": _T, "now": maybe(_T)})),
                "coming": many(told({"model": _T, "from": TIME})),
            }
        ),
        errors=(422,),
    ),
    ("POST", "/prices/rerate"): Described(
        tag="Prices",
        body=asked(
            {
                "since": {**_DATES, "description": "a date, or a time with its zone"},
                "until": {**_DATES, "description": "not included"},
            },
            {
                "team": text(longest=200),
                "model": text(longest=200),
                "book": {"type": "boolean", "default": False, "description": "enter the difference as corrections"},
            },
        ),
        answer=told(
            {
                "since": TIME,
                "until": TIME,
                "entries": COUNT,
                "changed": COUNT,
                "difference_usd": USD,
                "by_team": many(told({"team": _T, **_DIFFERENCE})),
                "by_card": many(told({"model": _T, "charged_by": _T, "now": maybe(_T), **_DIFFERENCE})),
                "left_out": many(told({"reason": _T, "entries": COUNT})),
                "booked": COUNT,
            }
        ),
        errors=(404, 409),
    ),
    ("GET", "/budgets"): Described(
        tag="Budgets",
        answer=told({"enforced": TRUTH, "budgets": many(ref("Budget"))}),
        query=(
            name_of("scope"),
            name_of("subject"),
            name_of("parent", "those of runs and steps, by what they are of"),
            word_of("active", ("true", "false"), "false: those that have ended, the newest", "true"),
            limit_of(),
        ),
    ),
    ("POST", "/budgets"): Described(tag="Budgets", body=ref("NewBudget"), answer=ref("Budget")),
    ("GET", "/budgets/{budget_id}"): Described(tag="Budgets", answer=ref("Budget")),
    ("DELETE", "/budgets/{budget_id}"): Described(tag="Budgets", answer=ref("Budget")),
    ("POST", "/budgets/{budget_id}/approve"): Described(
        tag="Budgets", body=asked({"amount_usd": AMOUNT_ABOVE_0}), answer=ref("Budget")
    ),
    ("POST", "/budgets/{budget_id}/deny"): Described(tag="Budgets", answer=ref("Budget"), errors=(409,)),
}
