"""Usage, savings, invoices, prices and budgets, as they are asked and told."""

from __future__ import annotations

from collections.abc import Mapping

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
from gateway.api.described.work_bodies import AMOUNT
from gateway.ledger.budget import AT_CAP, SCOPES
from gateway.ledger.entry import Entry
from gateway.ledger.usage_ask import SUMS

_T = text()
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
        allOf=[
            *_FITTING,
            _unless({"scope": {"const": "run"}, "window": {"const": "run"}}),
            {
                "if": {"properties": {"scope": {"const": "gateway"}}, "required": ["scope"]},
                "then": {"properties": {"subject": {"const": "*"}}},
                "else": {"properties": {"subject": {"not": {"const": "*"}}}, "required": ["subject"]},
            },
        ],
    ),
    "BudgetOfKey": asked({"limit_usd": AMOUNT}, _BUDGET, allOf=_FITTING),
}
