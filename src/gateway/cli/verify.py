"""``db upgrade``, ``ledger verify``, ``audit verify``: work on the database itself, no service needed."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from gateway import upkeep
from gateway.settings import settings_from_process

_JSON = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


def db_upgrade(
    owner_url: Annotated[
        str,
        typer.Option(
            "--owner-url",
            envvar="GATEWAY_DATABASE_OWNER_URL",
            show_envvar=False,
            help="PostgreSQL as the tables' owner (GATEWAY_DATABASE_OWNER_URL): the user of DATABASE_URL may then "
            "change nothing that is written once.",
        ),
    ] = "",
) -> None:
    """Bring the schema of DATABASE_URL to this version's; does nothing when it is there already."""
    revision, role = upkeep.upgrade_database(settings_from_process(dev=True), owner_url)
    granted = f"; {role} may neither change nor delete what is written once" if role else ""
    Console(highlight=False).print(f"[green]✓[/] schema at {revision}{granted}")


def ledger_verify(as_json: _JSON = False) -> None:
    """Prove that debits equal credits, balances equal their entries, and every hold has ended or lives."""
    _report("ledger", upkeep.verify_ledger(settings_from_process(dev=True)), as_json)


def audit_verify(as_json: _JSON = False) -> None:
    """Prove that no audit record was changed, removed, inserted or moved."""
    _report("audit trail", upkeep.verify_audit(settings_from_process(dev=True)), as_json)


def make_db_app() -> typer.Typer:
    return _group("The database schema.", {"upgrade": db_upgrade})


def make_ledger_app() -> typer.Typer:
    return _group("Prove the ledger.", {"verify": ledger_verify})


def make_audit_app() -> typer.Typer:
    return _group("Prove the audit trail.", {"verify": audit_verify})


def _group(text: str, commands: dict[str, object]) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    for name, command in commands.items():
        app.command(name)(command)  # type: ignore[type-var]

    @app.callback(help=text)
    def group() -> None:
        """A group of commands."""

    return app


def _report(what: str, report: upkeep.Verified, as_json: bool) -> None:
    console = Console(highlight=False)
    if as_json:
        told = {"ok": report.ok, "checked": report.checked, "seconds": round(report.seconds, 3)}
        console.print_json(data=told | {"problems": list(report.problems)})
    elif report.ok:
        console.print(f"[green]✓[/] {what}: {report.checked} records in {report.seconds:.2f} s")
    else:
        console.print(f"[red]✗[/] {what}: {len(report.problems)} problems in {report.checked} records")
        for problem in report.problems:
            console.print(f"  {problem}", markup=False)
    raise typer.Exit(0 if report.ok else 1)
