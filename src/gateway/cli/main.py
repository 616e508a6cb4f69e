"""``ai-gateway``: the command line. Each group of commands is a file of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from gateway.cli import budgets, config, demo, doctor, keys, models, prompts, serve, tasks, usage, verify, workflows
from gateway.cli.exits import exit_code_for
from gateway.cli.setup_llm import setup_llm
from gateway.errors import GatewayError


def make_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="ai-gateway",
        help="One door to every model: LLMs, ML models, durable workflows, exact cost.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    serve.add_commands(app)
    app.command("demo", help="Run a real analysis from start to report.")(demo.demo)
    app.command("doctor", help="What this machine can do, and every setting with its origin.")(doctor.doctor)
    app.command("setup-llm", help="Install the weights of the embedded language model.")(setup_llm)
    app.add_typer(config.make_app(), name="config", help="Check the configuration files.")
    app.add_typer(verify.make_db_app(), name="db", help="The database schema.")
    app.add_typer(verify.make_ledger_app(), name="ledger", help="Prove the ledger.")
    app.add_typer(verify.make_audit_app(), name="audit", help="Prove the audit trail.")
    app.add_typer(workflows.make_app(), name="workflows", help="Run and watch workflows.")
    app.add_typer(tasks.make_app(), name="tasks", help="Submit and watch tasks.")
    app.add_typer(models.make_app(), name="models", help="Models, versions, promotion and rollback.")
    app.add_typer(keys.make_app(), name="keys", help="API keys.")
    app.add_typer(budgets.make_app(), name="budgets", help="Spending limits.")
    app.add_typer(prompts.make_app(), name="prompts", help="Prompt templates.")
    app.command("usage", help="What was used and what it cost.")(usage.usage)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Errors of ours are told in two lines, with the exit status of their kind."""
    try:
        make_app()(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="ai-gateway")
    except GatewayError as error:
        console = Console(stderr=True, highlight=False)
        console.print("[bold red]error[/]", end=" ")
        console.print(error.message, markup=False)
        if error.mend:
            console.print("[bold]mend[/] ", end=" ")
            console.print(error.mend, markup=False)
        sys.exit(exit_code_for(error))


if __name__ == "__main__":
    main()
