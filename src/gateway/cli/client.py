"""The command line's own HTTP client: finds the running service, speaks JSON, turns refusals into our errors.

Where it looks: ``--url``/``--key``, then ``GATEWAY_URL``/``GATEWAY_API_KEY``, then the note that a
development service leaves in its data directory.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from gateway.errors import (
    BudgetExceeded,
    GatewayError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    ValidationFailed,
)
from gateway.settings import settings_from_process

#: Columns of what is no terminal.
_WIDE = 200
_ENCODER = msgspec.json.Encoder(decimal_format="number")

Url = Annotated[str | None, typer.Option("--url", help="The service (GATEWAY_URL).", envvar="GATEWAY_URL")]
Key = Annotated[str | None, typer.Option("--key", help="API key (GATEWAY_API_KEY).", envvar="GATEWAY_API_KEY")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]

_KINDS: Mapping[int, type[GatewayError]] = {
    401: NotAuthenticated,
    402: BudgetExceeded,
    403: PermissionDenied,
    404: NotFound,
    422: ValidationFailed,
    429: RateLimited,
}


@dataclass(frozen=True, slots=True)
class Client:
    """A service and a key."""

    url: str
    key: str

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.send("GET", path + (f"?{urlencode(given)}" if given else ""))

    def post(self, path: str, body: Any = None) -> Any:
        """What the service answers to a body."""
        return self.send("POST", path, {} if body is None else body)

    def delete(self, path: str) -> Any:
        """What the service answers."""
        return self.send("DELETE", path)

    def fetch(self, path: str, **query: Any) -> bytes:
        """The file at a path, as it is."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._read("GET", f"{path}?{urlencode(given)}", None, "*/*")

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """One request. Refusals are raised as the service said them."""
        return _decoded(self._read(method, path, body, "application/json"))

    def _read(self, method: str, path: str, body: Any, accept: str) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310 - the operator's own URL
        request.add_header("Authorization", f"Bearer {self.key}")
        request.add_header("Accept", accept)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            raise Unavailable(
                f"no service answers at {self.url}", mend="start one with `ai-gateway serve --dev`, or give --url"
            ) from None


def connect(url: str | None, key: str | None) -> Client:
    """The service to talk to. ``Unavailable`` where none is known."""
    if url and key:
        return Client(url.rstrip("/"), key)
    file = settings_from_process(dev=True).data_dir / "run" / "service.json"
    try:
        note = json.loads(file.read_text())
    except (OSError, ValueError):
        note = {}
    found_url = url or note.get("url") or "http://127.0.0.1:8001"
    found_key = key or note.get("key") or os.environ.get("GATEWAY_ADMIN_KEY") or ""
    if not found_key:
        raise NotAuthenticated(
            "no API key is known", mend="give --key or GATEWAY_API_KEY, or start `ai-gateway serve --dev` here"
        )
    return Client(str(found_url).rstrip("/"), str(found_key))


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def show(value: Any, indent: int = 2) -> None:
    """Prints JSON for programs; on one line with ``indent=0``. Decimals are exact numbers."""
    sys.stdout.write(msgspec.json.format(_ENCODER.encode(value), indent=indent).decode() + "\n")


def console(*, stderr: bool = False) -> Console:
    """Where people read; what is piped to a file or another program is not cut to a terminal's width."""
    piped = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, soft_wrap=False, stderr=stderr, width=_WIDE if piped else None)


def listing_table(first: str, *others: str) -> Table:
    """A list for people, whose first column is never cut: it names the row in the next command."""
    table = Table(box=None, header_style="bold")
    table.add_column(first, no_wrap=True, overflow="fold")
    for name in others:
        table.add_column(name)
    return table


def _decoded(content: bytes) -> Any:
    return json.loads(content, parse_float=Decimal) if content.strip() else None


def _refusal(status: int, content: bytes) -> GatewayError:
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    told = body if isinstance(body, dict) else {}
    message = str(told.get("detail") or f"the service answered {status}")
    kind = _KINDS.get(status, GatewayError)
    return kind(message, mend=str(told.get("mend") or ""))
