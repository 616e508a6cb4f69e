"""``config``: check the configuration files before anyone depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway import upkeep
from gateway.settings import settings_from_process


def validate(
    directory: Annotated[
        Path | None, typer.Argument(help="Configuration directory; default as serve would take.")
    ] = None,
) -> None:
    """Read the configuration files as the service would; say what is wrong, with line numbers."""
    settings = settings_from_process(dev=True, config_dir=directory)
    catalogue = upkeep.check_configuration(settings)
    Console(highlight=False).print(
        f"[green]✓[/] {settings.config_dir}: {len(catalogue.providers)} providers, {len(catalogue.models)} models, "
        f"{len(catalogue.workflows)} workflows, epoch {catalogue.epoch}"
    )


def make_app() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    app.command("validate")(validate)

    @app.callback()
    def group() -> None:
        """Check the configuration files."""

    return app
