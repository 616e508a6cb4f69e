"""``/invoices``: a month adds up to the ledger to the last digit; a provider's invoice is told apart from it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer

from fixtures.house import House, running_house
from gateway.cli.main import make_app
from gateway.clock import rfc3339
from gateway.ledger.entry import Charge
from gateway.models.llm_models import Usage

#: Units that no double holds.
COSTS = (1, 3, 7_777_777_777_777_777, 10**10 + 1, 123_456_789)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        for number, cost in enumerate(COSTS):
            team = ("risk", "=cmd", None)[number % 3]
            charge = Charge(
                f"c{number}", "llm", "ann", "gpt-4", "openai", f"r{number}",
                team=team, upstream_model="gpt-4-0613", workflow_id="wf" if number % 2 else None,
            )  # fmt: skip
            running.core.ledger.record(charge, cost=cost, card="card", usage=Usage(5, 1))
        yield running


def month(house: House) -> str:
    return rfc3339(house.core.clock.now())[:7]


def exact(house: House, path: str) -> Any:
    """Decimals as they were sent."""
    return json.loads(house.ask("GET", path).raw, parse_float=Decimal)


def test_lines_add_up_to_invoices_and_these_to_the_ledger(house: House) -> None:
    found = exact(house, f"/invoices?month={month(house)}")
    total = Decimal(sum(COSTS)) / 10**10
    assert found["total_usd"] == total
    assert found["final"] is False
    assert sum(Decimal(one["total_usd"]) for one in found["invoices"]) == total
    for one in found["invoices"]:
        assert sum(Decimal(line["cost_usd"]) for line in one["lines"]) == Decimal(one["total_usd"])
        assert one["number"] == f"{month(house)}/{one['team'] or '-'}"
    assert {one["team"] for one in found["invoices"]} == {"risk", "=cmd", ""}
    with house.core.database.read() as connection:
        balance = connection.exec_driver_sql("SELECT sum(amount) FROM balance WHERE account LIKE 'caller:%'").scalar()
    assert Decimal(balance or 0) / 10**10 == total


def test_as_csv_for_the_accountants(house: House) -> None:
    found = house.ask("GET", f"/invoices?month={month(house)}&format=csv")
    rows = list(csv.DictReader(io.StringIO(found.raw.decode())))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal(sum(COSTS)) / 10**10
    assert {row["team"] for row in rows} == {"risk", "'=cmd", ""}
    assert not any(row["invoice"].startswith("=") for row in rows)


def test_one_team_another_month_and_bad_ones(house: House) -> None:
    (one,) = exact(house, f"/invoices?month={month(house)}&team=risk")["invoices"]
    assert one["total_usd"] == Decimal(COSTS[0] + COSTS[3]) / 10**10
    past = exact(house, "/invoices?month=2020-02")
    assert (past["final"], past["invoices"], past["total_usd"]) == (True, [], 0)
    for query in ("", "?month=2026", "?month=2026-01&time_zone=Nowhere", "?month=2026-01&format=pdf"):
        assert house.ask("GET", f"/invoices{query}").status == 422
    assert house.ask("GET", "/invoices?month=2026-01", key=house.key("developer")).status == 403


def invoice_of(house: House, cost: str) -> str:
    day = rfc3339(house.core.clock.now())[:10]
    return f"date,model,cost\n{day},gpt-4-0613,{cost}\n{day},dall-e-3,2\n2020-01-31,gpt-4-0613,5\n"


def test_a_providers_invoice_beside_the_ledger(house: House) -> None:
    total = str(Decimal(sum(COSTS)) / 10**10)
    body = {"provider": "openai", "month": month(house), "csv": invoice_of(house, total), "tolerance_usd": "0"}
    found = house.ask("POST", "/invoices/reconcile", body).body
    assert {(row["day"][:4], row["model"]): row["status"] for row in found["rows"]} == {
        (month(house)[:4], "gpt-4-0613"): "matched",
        (month(house)[:4], "dall-e-3"): "missing_in_ledger",
        ("2020", "gpt-4-0613"): "outside_month",
    }
    assert found["difference_usd"] == 2, "what is of another month is no difference of this one"
    assert found["totals"]["outside_month"] == {"rows": 1, "invoiced_usd": 5, "ledger_usd": 0}
    off = {**body, "csv": invoice_of(house, str(Decimal(total) + Decimal("1E-10")))}
    rows = house.ask("POST", "/invoices/reconcile", off).body["rows"]
    (row,) = [row for row in rows if row["model"] == "gpt-4-0613" and row["status"] != "outside_month"]
    assert (row["status"], row["difference_usd"]) == ("different", 1e-10)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"month": "March"}, "month"),
        ({"csv": "a,b\n1,2"}, "columns.cost"),
        ({"csv": None}, "csv"),
        ({"tolerance_usd": -1}, "tolerance_usd"),
        ({"tolerance_usd": "some"}, "tolerance_usd"),
        ({"columns": {"price": "x"}}, "columns.price"),
        ({"columns": []}, "columns"),
        ({"extra": 1}, "extra"),
    ],
)
def test_bad_invoices_are_refused_by_name(house: House, change: dict[str, Any], named: str) -> None:
    body = {"provider": "openai", "month": "2026-01", "csv": "model,cost\ngpt-4,1\n", **change}
    found = house.ask("POST", "/invoices/reconcile", body)
    assert found.status in (404, 422)
    assert named in json.dumps(found.body)


def test_the_command_line(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    app = make_app(["invoices"])
    app(args=["invoices", "show", "--month", month(house)], standalone_mode=False)
    assert f"invoice {month(house)}/risk" in capsys.readouterr().out
    file = tmp_path / "bill.csv"
    file.write_text(invoice_of(house, "1"))
    words = ["invoices", "reconcile", str(file), "--provider", "openai", "--month", month(house)]
    try:
        status = app(args=words, standalone_mode=False)
    except typer.Exit as ended:
        status = ended.exit_code
    assert status == 1
    out = capsys.readouterr().out
    assert "missing_in_ledger" in out
    assert "different" in out
    assert "1 outside month" in out
    assert "outside" in out.splitlines()[-1]
