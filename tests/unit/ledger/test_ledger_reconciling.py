"""Providers' invoices, as they are exported, beside the ledger."""

from __future__ import annotations

import pytest

from gateway.errors import ValidationFailed
from gateway.ledger.invoices import month_of
from gateway.ledger.reconciling import read_invoice, reconciled, totals
from gateway.money import units

#: As OpenAI, Anthropic and a spreadsheet in another language write them.
OPENAI = """amount_value,amount_currency,line_item,start_time_iso
0.30,usd,"gpt-4o-2024-08-06, input",2026-03-01T00:00:00+00:00
0.12,usd,"gpt-4o-2024-08-06, output",2026-03-01T00:00:00+00:00
7,usd,gpt-4-0613,2026-03-02T00:00:00+00:00
"""
ANTHROPIC = """usage_date_utc,model,token_type,cost_usd
2026-03-01,claude-3-haiku-20240307,input_no_cache,0.10
2026-03-01,claude-3-haiku-20240307,output,0.05
"""
MARCH = month_of("2026-03")
ENTERED = {
    ("2026-03-01", "gpt-4o-2024-08-06"): (units("0.42"), 9),
    ("2026-03-02", "gpt-4-0613"): (units("6.5"), 3),
    ("2026-03-03", "o1"): (units("1"), 1),
}


def test_what_is_the_same_differs_and_is_missing() -> None:
    invoice = read_invoice(OPENAI + "5,usd,whisper-1,2026-03-02T00:00:00+00:00\n")
    rows = {(row.day, row.model): row for row in reconciled(invoice, ENTERED, 0, MARCH)}
    assert {key: row.status for key, row in rows.items()} == {
        ("2026-03-01", "gpt-4o-2024-08-06"): "matched",
        ("2026-03-02", "gpt-4-0613"): "different",
        ("2026-03-02", "whisper-1"): "missing_in_ledger",
        ("2026-03-03", "o1"): "missing_in_invoice",
    }
    assert rows["2026-03-02", "gpt-4-0613"].difference == units("0.5")
    assert rows["2026-03-03", "o1"].difference == -units(1)
    assert totals(rows.values())["missing_in_ledger"] == (1, units(5), 0)
    assert sum(row.difference for row in rows.values()) == units("12.42") - units("7.92")


def test_a_tolerance_is_for_a_line_not_for_all() -> None:
    invoice = read_invoice(ANTHROPIC)
    for cost, status in (("0.145", "matched"), ("0.1449999999", "different")):
        entered = {("2026-03-01", "claude-3-haiku-20240307"): (units(cost), 2)}
        (row,) = reconciled(invoice, entered, units("0.005"), MARCH)
        assert row.status == status


def test_an_invoice_without_days_is_compared_as_a_whole() -> None:
    invoice = read_invoice("Model;x,Cost\nGPT-4o,1.5\n".replace(";x", ""))
    assert not invoice.by_day
    entered = {("2026-03-01", "gpt-4o"): (units(1), 2), ("2026-03-02", "gpt-4o"): (units("0.5"), 1)}
    (row,) = reconciled(invoice, entered, 0, MARCH)
    assert (row.status, row.day, row.calls) == ("matched", "", 3)


def test_a_line_of_another_month_is_not_missing_but_of_another_month() -> None:
    other = "1,usd,gpt-4-0613,2026-02-28T23:00:00+00:00\n2,usd,gpt-4-0613,2026-04-01T00:00:00+00:00\n"
    edges = "3,usd,gpt-4-0613,2026-03-31T00:00:00+00:00\n"
    rows = reconciled(read_invoice(OPENAI + other + edges), ENTERED, 0, MARCH)
    assert {row.day: row.status for row in rows if row.model == "gpt-4-0613"} == {
        "2026-02-28": "outside_month",
        "2026-03-02": "different",
        "2026-03-31": "missing_in_ledger",
        "2026-04-01": "outside_month",
    }
    assert totals(rows)["outside_month"] == (2, units(3), 0)
    assert totals(rows)["missing_in_ledger"] == (1, units(3), 0)
    without_days = reconciled(read_invoice("model,cost\nwhisper-1,1\n"), {}, 0, MARCH)
    assert [row.status for row in without_days] == ["missing_in_ledger"]


def test_names_can_be_told() -> None:
    text = 'Tag,Leistung,Betrag\n2026-03-01,Großes Modell,"$1,234.50"\n'
    columns = {"day": "Tag", "model": "leistung", "cost": "Betrag"}
    invoice = read_invoice(text, columns=columns, models={"Großes Modell": "gpt-4"})
    assert invoice.sums == {("2026-03-01", "gpt-4"): units("1234.5")}
    assert invoice.columns["cost"] == "Betrag"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at least one line"),
        ("model,cost\n", "at least one line"),
        ("model\ngpt-4\n", "no such column"),
        ("cost\n1\n", "no such column"),
        ("model,cost\ngpt-4,\n", "line 2"),
        ("model,cost\ngpt-4,1\ngpt-4,free\n", "line 3"),
        ("model,cost\ngpt-4,NaN\n", "line 2"),
        ("model,cost\ngpt-4,1e99\n", "line 2"),
        ('model,cost\ngpt-4,"1.234,50"\n', "line 2"),
        ("model,cost,date\ngpt-4,1,31.12.2026\n", "line 2"),
        ("model,cost,currency\ngpt-4,1,EUR\n", "another currency"),
        ('model,cost\n"gpt-4,1\n', "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, told: str) -> None:
    with pytest.raises(ValidationFailed, match=told):
        read_invoice(text)


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-1", "2026-01-01", "0000-01", "march"])
def test_a_month_is_a_month(text: str) -> None:
    with pytest.raises(ValidationFailed, match="month"):
        month_of(text)
