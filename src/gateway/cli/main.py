"""``ai-gateway``: the command line. Each group of commands is a file of its own, loaded when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console

import gateway
from gateway.cli.exits import exit_code_for
from gateway.errors import GatewayError

#: name → (module, attribute, help). ``make_*`` attributes are groups, others single commands.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "serve": ("serve", "serve", "Start the gateway: all of it, or the API alone."),
    "worker": ("roles", "worker", "Run steps: a Celery worker."),
    "orchestrate": ("roles", "orchestrate", "Sweep: missed doorbells, expired leases, timers, webhooks."),
    "demo": ("demo", "demo", "Run a real analysis from start to report."),
    "doctor": ("doctor", "doctor", "What this machine can do, and every setting with its origin."),
    "setup-llm": ("setup_llm", "setup_llm", "Install the weights of the embedded language model."),
    "config": ("config", "make_app", "Check the configuration files."),
    "workflows": ("workflows", "make_app", "Run and watch workflows."),
    "runs": ("runs", "make_app", "Pause, approve, signal and repeat runs."),
    "schedules": ("schedules", "make_app", "Run workflows at set times, or for times that are past."),
    "dead-letters": ("dead_letters", "make_app", "Steps that failed for good: look, do again, let be."),
    "tasks": ("tasks", "make_app", "Watch and cancel tasks."),
    "webhooks": ("webhooks", "make_app", "Subscriptions, deliveries, and dead ones sent again."),
    "models": ("models", "make_app", "Models, versions, promotion and rollback."),
    "route": ("route", "make_app", "Which deployment answers for a model, and why."),
    "tokens": ("tokens", "make_app", "Count tokens, and see what could be saved."),
    "prompts": ("prompts", "make_app", "Prompt templates."),
    "keys": ("keys", "make_app", "API keys."),
    "limits": ("limits", "make_app", "Rate limits of users and teams."),
    "prices": ("prices", "make_app", "What models ask."),
    "budgets": ("budgets", "make_app", "Spending limits."),
    "usage": ("usage", "make_app", "What was used and what it cost."),
    "invoices": ("invoices", "make_app", "What each team is billed, and what providers bill."),
    "ledger": ("verify", "make_ledger_app", "Prove the ledger."),
    "audit": ("verify", "make_audit_app", "Prove the audit trail."),
    "db": ("verify", "make_db_app", "The database schema."),
}


def make_app(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The command tree; of commands that are not in ``names`` it has their name and help alone, unloaded."""
    app = typer.Typer(
        name="ai-gateway",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for name, (module, attribute, text) in COMMANDS.items():
        if name not in names:
            app.command(name, help=text)(_unloaded)
            continue
        found = getattr(import_module(f"gateway.cli.{module}"), attribute)
        if attribute.startswith("make_"):
            app.add_typer(found(), name=name, help=text)
        else:
            app.command(name, help=f"{text}\n\n{(found.__doc__ or '').strip()}")(found)

    @app.callback(help="One door to every model: LLMs, ML models, durable workflows, exact cost.")
    def root(
        version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version)] = False,
    ) -> None:
        """Keeps a single command a command of its own name."""

    return app


def _unloaded() -> None:
    """Stands in the list for a command that was not asked for."""


def _reason(error: GatewayError) -> str:
    """What the database's driver says: whoever is at the terminal may know which part of the address is wrong.
    (It never repeats the password.)"""
    said = str(getattr(error.__cause__, "orig", "") or "").strip()
    return f": {' '.join(said.split())[:300]}" if said else ""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ai-gateway {gateway.__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Errors of ours are told in two lines, with the exit status of their kind."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    completing = "_AI_GATEWAY_COMPLETE" in os.environ
    names = list(COMMANDS) if completing else [word for word in given if word in COMMANDS][:1]
    try:
        make_app(names)(args=given, prog_name="ai-gateway")
    except GatewayError as error:
        console = Console(stderr=True, highlight=False)
        console.print("[bold red]error[/]", end=" ")
        console.print(f"{error.message}{_reason(error)}", markup=False)
        if error.mend:
            console.print("[bold]mend[/] ", end=" ")
            console.print(error.mend, markup=False)
        sys.exit(exit_code_for(error))


if __name__ == "__main__":
    main()
