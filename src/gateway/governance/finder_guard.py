"""The guards ``pii`` and ``secrets``: what a finder finds, in every text."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.governance.spans import Finder
from gateway.models.guard import Asked, Finding


class FinderGuard:
    """See ``models.guard.Guard``."""

    def __init__(self, finder: Finder) -> None:
        self.finder = finder

    def look(self, asked: Asked) -> Iterator[Finding]:
        """Every stretch that the finder finds."""
        for at, item in enumerate(asked.texts):
            for span in self.finder.find(item.text):
                yield Finding(span.kind, at, span.start, span.end)
