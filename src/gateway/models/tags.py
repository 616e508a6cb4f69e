"""Tags: what callers call their calls by, such as ``project=alpha`` or ``nightly``, so that usage can be asked by it.

They come with a request (``x-gateway-tags``) or with a task or run (``metadata.tags``) and are kept with the
entry in one writing: each once, in order, with commas between. The runs within a run have its tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gateway.errors import ValidationFailed

MOST_TAGS = 8
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}(=[A-Za-z0-9._:/@-]{1,64})?")


def read_tags(text: str, param: str = "x-gateway-tags") -> str:
    """The tags of a header, in their one writing. ``ValidationFailed`` for what is none."""
    return _written((word.strip() for word in text.split(",")), param) if text else ""


def tags_of_metadata(metadata: dict[str, Any]) -> str:
    """The tags of a task or run: ``metadata.tags``, a list, or text with commas."""
    given = metadata.get("tags", ())
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValidationFailed("metadata.tags: a list of tags is expected", param="metadata.tags")
    return _written((word.strip() for word in words), "metadata.tags")


def kept_tags(metadata: dict[str, Any]) -> str:
    """The same of what was kept before tags were read: what is none is left out."""
    try:
        return tags_of_metadata(metadata)
    except ValidationFailed:
        return ""


def handed_down(metadata: dict[str, Any]) -> dict[str, Any]:
    """What a run within a run has of its metadata: the tags. A definition sets none, so they are those of whoever began
    the outermost run, and a sum by tag has all that it began."""
    return {"tags": metadata["tags"]} if "tags" in metadata else {}


def tag_value(tags: str, name: str) -> str:
    """The value of the tag ``name=value``; a tag without a value has its own name; empty where there is none."""
    for tag in tags.split(","):
        key, _, value = tag.partition("=")
        if key == name:
            return value or key
    return ""


def _written(words: Iterable[str], param: str) -> str:
    found = sorted({word for word in words if word})
    if len(found) > MOST_TAGS:
        raise ValidationFailed(f"{param}: at most {MOST_TAGS} tags", param=param)
    for word in found:
        if not _TAG.fullmatch(word):
            raise ValidationFailed(
                f"{param}: {word[:40]!r} is no tag",
                mend="write names of letters, digits and ._:/@-, or name=value, at most 64 characters each",
                param=param,
            )
    return ",".join(found)
