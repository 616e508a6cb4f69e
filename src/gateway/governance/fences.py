"""Where fenced code stands in a text: nothing in it is ever changed."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})")


def split_fences(text: str) -> list[tuple[str, bool]]:
    """Pieces that make up the text, each with whether it is fenced code (its fences included). A fence
    that is never closed goes to the end."""
    if "```" not in text and "~~~" not in text:
        return [(text, False)]
    pieces: list[tuple[str, bool]] = []
    held: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        mark = found.group(1) if found is not None else ""
        if not fence and mark:
            pieces.append(("".join(held), False))
            held, fence = [line], mark
            continue
        held.append(line)
        if fence and mark.startswith(fence) and not line.strip(f" \t\r\n>{fence[0]}"):
            pieces.append(("".join(held), True))
            held, fence = [], ""
    pieces.append(("".join(held), bool(fence)))
    return [piece for piece in pieces if piece[0]]
