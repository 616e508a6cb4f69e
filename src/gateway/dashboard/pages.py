"""The dashboard's files, read from the package: one page, one stylesheet, one script, no build step.

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
_FILES = {
    "/dashboard": ("index.html", "text/html; charset=utf-8", "Dashboard"),
    "/dashboard/app.js": ("app.js", "text/javascript; charset=utf-8", "Dashboard: script"),
    "/dashboard/charts.js": ("charts.js", "text/javascript; charset=utf-8", "Dashboard: charts"),
    "/dashboard/style.css": ("style.css", "text/css; charset=utf-8", "Dashboard: style"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file at a path."""

    path: str
    content: bytes
    media_type: str
    summary: str
    headers: Mapping[str, str]


def pages() -> list[Page]:
    """Every file of the dashboard."""
    return [
        Page(path, (_FOLDER / name).read_bytes(), media_type, summary, _HEADERS)
        for path, (name, media_type, summary) in _FILES.items()
    ]
