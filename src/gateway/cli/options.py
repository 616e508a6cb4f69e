"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Dev = Annotated[bool, typer.Option("--dev", help="Development: everything embedded, a fresh admin key, reloads.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where state is kept (GATEWAY_DATA_DIR).")]
ConfigDir = Annotated[Path | None, typer.Option("--config", help="Configuration directory (GATEWAY_CONFIG_DIR).")]
Rpm = Annotated[int | None, typer.Option("--rpm", help="Requests a minute.")]
Tpm = Annotated[int | None, typer.Option("--tpm", help="Tokens a minute.")]
Concurrent = Annotated[int | None, typer.Option("--concurrent", help="Calls that run at once.")]
