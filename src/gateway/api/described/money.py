"""Usage, savings, invoices, prices and budgets."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.param import CURSOR, Param, limit_of, name_of, whole_of, word_of
from gateway.api.described.shapes import (
    ANY,
    COUNT,
    FREE,
    INTEGER,
    NUMBER,
    TIME,
    TRUTH,
    USD,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    number,
    one_of,
    ref,
    text,
    told,
)
from gateway.api.described.work_bodies import AMOUNT, AMOUNT_ABOVE_0
from gateway.api.wire.tables import FORMATS
from gateway.ledger.budget import AT_CAP, SCOPES
from gateway.ledger.entry import Entry
from gateway.ledger.reconciling import COLUMNS
from gateway.ledger.usage_ask import GROUPS, SUMS, WORDS

_T = text()
_MONTH = text(like="^(19[89][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])$", said="2026-01")
_DATES: Schema = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}
_TIMES_OR_AGO: Schema = {**_DATES, "anyOf": [*_DATES["anyOf"], {"pattern": "^[0-9]{1,5}[hd]$"}]}
_WHEN = "a date (2026-01-31), a time with its zone, or how long ago (36h, 30d)"
#: What calls are told apart by, in the words of callers and of entries.
FILTERS = ("model", "provider", "key", "user", "team", "workflow", "kind", "outcome", "basis", "tag", *WORDS)
TIMES = ("since", "until")
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
_COUNTS = {name: COUNT for name in SUMS if name not in ("inference_micros", "rows", "cost")}
_SECONDS = {"type": "number", "description": "seconds"}
_USD_OF_BUDGET = dict.fromkeys(("limit_usd", "spent_usd", "reserved_usd", "extra_usd"), USD)
_ENTRY: Mapping[str, Schema] = {
    name: maybe(_T) if name in ("hold_id", "key_id", "team", "run_id", "task_id", "workflow_id") else _T
    for name in Entry.__struct_fields__
} | {
    **dict.fromkeys(
        ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "rows"),
        INTEGER,
    ),
    "inference_micros": {"type": "integer", "description": "microseconds"},
    "cost": USD,
    "at": TIME,
    "tags": many(_T),
}
_LINE = told(
    {
        "invoice": _T,
        "team": _T,
        "month": _T,
        "workflow": _T,
        "model": _T,
        "provider": _T,
        "calls": COUNT,
        "input_tokens": COUNT,
        "output_tokens": COUNT,
        "inference_seconds": _SECONDS,
        "cost_usd": USD,
    }
)
_DIFFERENCE: Mapping[str, Schema] = {"entries": COUNT, "before_usd": USD, "after_usd": USD, "difference_usd": USD}
_BUDGET: Mapping[str, Schema] = {
    "limit_usd": AMOUNT,
    "window": text(like=r"^(run|day|week|month|lifetime|rolling:[1-9][0-9]{0,2}[hd])$"),
    "time_zone": maybe(text(1, 60, said="of days, weeks and months; such as Europe/Berlin")),
    "alert_shares": maybe(
        many({"oneOf": [number(above=0, high=1), text(like=r"^(0\.[0-9]*[1-9]|1)$")]}, 0, 10, said="of the limit")
    ),
    "at_cap": one_of(AT_CAP, default="refuse"),
    "degrade_to": maybe(many(text(1, 200), 0, 5, said="models, where at_cap is degrade")),
}


def _unless(properties: Mapping[str, Schema]) -> Schema:
    """All of these are not there together."""
    return {"not": {"required": list(properties), "properties": dict(properties)}}


#: What goes together in a budget.
_FITTING: list[Schema] = [
    _unless({"time_zone": {"type": "string"}, "window": {"not": {"enum": ["day", "week", "month"]}}}),
    _unless({"at_cap": {"const": "queue"}, "window": {"enum": ["lifetime", "run"]}}),
    {
        "if": {"required": ["at_cap"], "properties": {"at_cap": {"const": "degrade"}}},
        "then": {"required": ["degrade_to"], "properties": {"degrade_to": {"type": "array", "minItems": 1}}},
        "else": {"properties": {"degrade_to": {"anyOf": [{"type": "null"}, {"maxItems": 0}]}}},
    },
]
_TOTAL = told({"rows": COUNT, "invoiced_usd": USD, "ledger_usd": USD})

COMPONENTS: Mapping[str, Schema] = {
    "UsageRow": {
        **told(
            {**_COUNTS, "inference_seconds": _SECONDS, "cost": USD},
            said="sums of one group, beside what it was asked by",
        ),
        "additionalProperties": True,
    },
    "LedgerEntry": told(_ENTRY),
    "Forecast": told(
        {
            "month": _T,
            "spent_usd": USD,
            "expected_usd": maybe(USD),
            "low_usd": maybe(USD),
            "high_usd": maybe(USD),
            "nominal_coverage": NUMBER,
            "method": maybe(_T),
            "history_days": COUNT,
            "backtest": told(
                {
                    "tries": COUNT,
                    "days_ahead": ANY,
                    "mean_error": maybe(NUMBER),
                    "coverage": maybe(NUMBER),
                    "coverage_tries": COUNT,
                }
            ),
        }
    ),
    "Savings": told(
        {
            "since": maybe(TIME),
            "until": maybe(TIME),
            "calls": COUNT,
            "spent_usd": USD,
            "saved_usd": USD,
            "methods": many(
                told({"method": _T, "calls": COUNT, "tokens": {"type": "integer"}, "saved_usd": USD, "baseline": _T})
            ),
            "note": _T,
            "recommendations": many(
                told(
                    {
                        "kind": _T,
                        "text": _T,
                        "where": by_name(_T),
                        "calls": COUNT,
                        "share_of_calls": NUMBER,
                        "cost_usd": USD,
                        "saves_usd": USD,
                        "at_most": TRUTH,
                        "evidence": FREE,
                        "reproduce": many(_T),
                    }
                )
            ),
        }
    ),
    "Invoices": told(
        {
            "month": _T,
            "time_zone": _T,
            "final": TRUTH,
            "until": TIME,
            "total_usd": USD,
            "invoices": many(told({"number": _T, "team": _T, "total_usd": USD, "lines": many(_LINE)})),
        }
    ),
    "Reconciliation": told(
        {
            "provider": _T,
            "month": _T,
            "columns": by_name(_T),
            "lines": COUNT,
            "by_day": TRUTH,
            "tolerance_usd": USD,
            "invoiced_usd": USD,
            "ledger_usd": USD,
            "difference_usd": USD,
            "totals": by_name(_TOTAL),
            "rows": many(
                told(
                    {
                        "status": _T,
                        "day": maybe(_T),
                        "model": _T,
                        "calls": maybe(COUNT),
                        "invoiced_usd": maybe(USD),
                        "ledger_usd": maybe(USD),
                        "difference_usd": USD,
                    }
                )
            ),
        }
    ),
    "Price": told(
        {
            "model": _T,
            "type": _T,
            "provider": _T,
            "state": one_of(("priced", "local", "none", "unknown")),
            "card": maybe(ref("PriceCard")),
            "next_from": maybe(TIME),
        }
    ),
    "Budget": told(
        {
            "id": _T,
            "scope": one_of((*SCOPES, "step")),
            "subject": _T,
            "window": _T,
            **_USD_OF_BUDGET,
            "resets_at": maybe(TIME),
            "time_zone": _T,
            "alert_shares": many(_T),
            "at_cap": one_of(AT_CAP),
            "degrade_to": many(_T),
            "asked_usd": maybe(USD),
            "parent": maybe(_T),
            "active": TRUTH,
            "created_by": _T,
            "created_at": TIME,
        }
    ),
    "NewBudget": asked(
        {"scope": one_of(SCOPES), "limit_usd": AMOUNT},
        {"subject": text(1, 200, said="who is bound; * for the gateway"), **_BUDGET},
        **{
            "if": {"properties": {"scope": {"const": "gateway"}}, "required": ["scope"]},
            "then": {"properties": {"subject": {"const": "*"}}},
            "else": {"properties": {"subject": {"not": {"const": "*"}}}, "required": ["subject"]},
        },
        allOf=[*_FITTING, _unless({"scope": {"const": "run"}, "window": {"const": "run"}})],
    ),
    "BudgetOfKey": asked({"limit_usd": AMOUNT}, _BUDGET, allOf=_FITTING),
}

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
            *(name_of(name) for name in ("key_id", "principal")),
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
        query=(name_of("scope"), name_of("subject"), name_of("parent", "those of runs and steps, by what they are of")),
    ),
    ("POST", "/budgets"): Described(tag="Budgets", body=ref("NewBudget"), answer=ref("Budget")),
    ("GET", "/budgets/{budget_id}"): Described(tag="Budgets", answer=ref("Budget")),
    ("DELETE", "/budgets/{budget_id}"): Described(tag="Budgets", answer=ref("Budget")),
    ("POST", "/budgets/{budget_id}/approve"): Described(
        tag="Budgets", body=asked({"amount_usd": AMOUNT_ABOVE_0}), answer=ref("Budget")
    ),
    ("POST", "/budgets/{budget_id}/deny"): Described(tag="Budgets", answer=ref("Budget"), errors=(409,)),
}
