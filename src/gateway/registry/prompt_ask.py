"""How a request names a prompt: a stored one by version or label, or a text of its own."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from gateway.errors import ValidationFailed
from gateway.registry.prompt_labels import check_label


class PromptAsk(Struct, frozen=True):
    """A stored prompt's ``name`` with at most one of ``version`` and ``label``, or a ``text``; and its
    variables, yet unchecked. ``place`` and ``values`` are what the request calls the one and the other."""

    name: str = ""
    text: str | None = None
    version: int | None = None
    label: str = ""
    variables: Any = field(default_factory=dict)
    place: str = "template"
    values: str = "variables"


def which(version: Any, label: Any, path: str) -> tuple[int | None, str]:
    """The version and the label as asked for, checked: at most one of them."""
    if version is not None and label is not None:
        raise ValidationFailed(f"{path}: at most one of version and label", param=f"{path}.version")
    if isinstance(version, str) and version.isascii() and version.isdigit() and len(version) < 10:
        version = int(version)
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or not 0 < version < 2**31):
        raise ValidationFailed(f"{path}.version: a whole number from 1 is expected", param=f"{path}.version")
    if label is not None and not isinstance(label, str):
        raise ValidationFailed(f"{path}.label: a text is expected", param=f"{path}.label")
    return version, "" if label is None else check_label(label)
