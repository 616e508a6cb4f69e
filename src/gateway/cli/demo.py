"""``demo``: placeholder until its parts are there."""

from __future__ import annotations


def demo() -> None:
    """A demonstration."""
