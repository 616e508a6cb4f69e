"""What a tool gave back, as the doors read it: its texts as one, and its images after or before them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from gateway.models.llm_models import ImagePart, Part, TextPart, ToolResultPart

_IMAGES = frozenset({"image", "input_image"})


def tool_result(call: str, parts: Sequence[Part], between: str, *, is_error: bool = False) -> ToolResultPart:
    """The result of the call, its texts joined with ``between``."""
    text = between.join(part.text for part in parts if isinstance(part, TextPart))
    images = tuple(part for part in parts if isinstance(part, ImagePart))
    first = bool(images and text and isinstance(parts[0], ImagePart))
    return ToolResultPart(call, text, is_error, images, first)


def in_turns(content: Any) -> bool:
    """Whether images stand between the texts of a result: only the caller's own body keeps that order."""
    blocks = content if isinstance(content, list) else ()
    shown = (block.get("type") in _IMAGES for block in blocks if isinstance(block, dict))
    return len(list(groupby(shown))) > 2
