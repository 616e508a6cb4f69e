"""The guards ``limits`` and ``output``: how much there may be, and what may not be said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gateway.models.guard import Asked, Finding


class LimitsGuard:
    """Bounds on the whole, and ``banned`` patterns (regular expressions; upper and lower case alike)."""

    def __init__(
        self,
        *,
        max_characters: int | None = None,
        max_turns: int | None = None,
        max_images: int | None = None,
        banned: Iterable[str] = (),
    ) -> None:
        self.max_characters = max_characters
        self._max_turns = max_turns
        self._max_images = max_images
        patterns = [f"(?:{pattern})" for pattern in banned]
        self.banned = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def look(self, asked: Asked) -> Iterator[Finding]:
        """See ``models.guard.Guard``."""
        if self.max_characters is not None and sum(len(item.text) for item in asked.texts) > self.max_characters:
            yield Finding("max_characters")
        if self._max_turns is not None and asked.turns > self._max_turns:
            yield Finding("max_turns")
        if self._max_images is not None and asked.images > self._max_images:
            yield Finding("max_images")
        for at, item in enumerate(asked.texts):
            match = None if self.banned is None else self.banned.search(item.text)
            if match is not None:
                yield Finding("banned", at, match.start(), match.end())
