"""One version of a prompt template: what it says, what it takes, and what it would have of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.errors import ValidationFailed
from gateway.models.llm_models import Message, ResponseFormat, Role
from gateway.registry.prompt_variables import Variable

LONGEST_TEMPLATE = 100_000
_ENCODER = msgspec.json.Encoder(order="sorted")


class Turn(Struct, frozen=True):
    """One message of a chat template; ``content`` is a template."""

    role: Role
    content: str


class Defaults(Struct, frozen=True, omit_defaults=True):
    """What a version would have where the request says nothing; ``response_format`` as chat completions write it."""

    model: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    response_format: dict[str, Any] | None = None


class NewPrompt(Struct, frozen=True):
    """A version before it has its number: one ``template``, or the ``turns`` of a chat."""

    name: str
    template: str = ""
    turns: tuple[Turn, ...] = ()
    inputs: tuple[Variable, ...] = ()
    defaults: Defaults = Defaults()
    comment: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that is rendered, in order."""
        return tuple(turn.content for turn in self.turns) or (self.template,)

    def hash(self) -> str:
        """SHA-256 of all that decides what a version does."""
        content = [self.template, self.turns, self.inputs, self.defaults]
        return hashlib.sha256(_ENCODER.encode(content)).hexdigest()


class PromptVersion(NewPrompt, frozen=True, kw_only=True):
    """One immutable version. ``variables`` are the names its texts use, ``digest`` its hash."""

    version: int
    variables: tuple[str, ...]
    digest: str
    created_by: str
    created_at: int

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


class Rendered(Struct, frozen=True):
    """What a prompt gives: its messages, its wishes, and (for a stored one) what stands in the record of the call."""

    messages: tuple[Message, ...]
    defaults: Defaults = Defaults()
    note: dict[str, Any] | None = None

    @property
    def header(self) -> str:
        """``name@version``; empty for a text of the caller's own."""
        return f"{self.note['id']}@{self.note['version']}" if self.note else ""

    @property
    def notes(self) -> dict[str, Any]:
        """What the prompt adds to the record of its call."""
        return {"prompt": self.note} if self.note else {}


def check_name(name: str) -> str:
    """The name of a prompt, checked."""
    if not name or len(name) > 100 or not all(part.isidentifier() for part in name.replace("-", "_").split(".")):
        raise ValidationFailed("a prompt's name is letters, digits, '_', '-' and '.'", param="name")
    return name


def response_format_of(raw: Mapping[str, Any] | None) -> ResponseFormat | None:
    """The neutral form of a version's ``response_format``."""
    if raw is None:
        return None
    if raw["type"] != "json_schema":
        return ResponseFormat(raw["type"])
    given = raw["json_schema"]
    return ResponseFormat("json_schema", given.get("name") or "", given["schema"], given.get("strict"))
