"""``tokens``: how many tokens a file has for a model, and what could be saved of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, show
from gateway.errors import ValidationFailed


def count(
    file: Annotated[str, typer.Argument(help="A text, or JSON with messages; - reads the input.")],
    model: Annotated[str, typer.Option(help="The model.")],
    optimise: Annotated[
        str, typer.Option(help="Also what this would save, such as compact,trim=4000; a text counts as one turn.")
    ] = "",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Count the tokens of FILE for a model. Nothing is sent to it."""
    asked = _asked(_read(file), optimise)
    found = connect(url, key).post("/tokens/count", {"model": model, **asked})
    if as_json:
        show(found)
        return
    out = console()
    table = f"  [dim]{found['encoding']}[/]" if found["encoding"] else ""
    out.print(f"[bold]{found['tokens']}[/] tokens  {found['basis']}{table}")
    saved = found.get("optimised")
    if saved:
        rows = Table("before", "after", "saved", "by", box=None, header_style="bold")
        rows.add_row(*(str(saved[name]) for name in ("before", "after", "saved")), " ".join(saved["methods"]) or "-")
        out.print(rows)


def _asked(text: str, optimise: str) -> dict[str, Any]:
    """The conversation of a JSON file, else the text: as one turn where savings are asked for."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    messages = content.get("messages") if isinstance(content, dict) else None
    if messages is None and optimise:
        messages = [{"role": "user", "content": text}]
    if messages is None:
        return {"text": text}
    return {"messages": messages, **({"optimise": optimise} if optimise else {})}


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationFailed(
            f"{file} cannot be read as text ({type(error).__name__})", mend="name a file in UTF-8", param="file"
        ) from None


def make_app() -> typer.Typer:
    """The branch of the command tree."""
    app = typer.Typer(no_args_is_help=True)
    app.command("count")(count)
    app.callback()(_root)
    return app


def _root() -> None:
    """Tokens of a text or a conversation."""
