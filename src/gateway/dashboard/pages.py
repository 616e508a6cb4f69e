"""The dashboard's files, read from the package: one page, one stylesheet, plain modules, no build step.

The policy allows nothing but these files: no inline script or style, no other host, no frame. What a
model said is shown as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).with_name("static")
_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class Page:
    """A file at a path."""

    path: str
    content: bytes
    media_type: str
    summary: str
    headers: Mapping[str, str]


def pages() -> list[Page]:
    """Every file of the dashboard; the page itself stands at ``/dashboard``."""
    return [
        Page(
            "/dashboard" if path.name == _INDEX else f"/dashboard/{path.name}",
            path.read_bytes(),
            _TYPES[path.suffix],
            f"Dashboard: {path.name}",
            _HEADERS,
        )
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _TYPES
    ]
