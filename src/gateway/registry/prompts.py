"""Prompt templates: versioned, rendered in a sandbox, with every variable named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from jinja2 import TemplateError, meta
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import NotFound, ValidationFailed
from gateway.registry.prompt_sandbox import PromptEnvironment

_LONGEST_TEMPLATE = 100_000
#: What a template's own doing may raise; anything else is our mistake.
_FAILURES = (
    TemplateError, TypeError, AttributeError, LookupError, RecursionError, ValueError, MemoryError, ArithmeticError
)  # fmt: skip


class PromptVersion(Struct, frozen=True):
    """One immutable version of one template. ``variables`` are the names it uses."""

    name: str
    version: int
    template: str
    variables: tuple[str, ...]
    hash: str
    created_by: str
    created_at: int


class PromptStore(Protocol):
    """Where templates are kept."""

    def add(self, prompt: PromptVersion) -> PromptVersion:
        """Stores it under the next number of its name."""
        ...

    def get(self, name: str, version: int | None) -> PromptVersion | None:
        """That version, or the newest."""
        ...

    def newest(self) -> list[PromptVersion]:
        """The newest version of each name."""
        ...

    def versions(self, name: str) -> list[PromptVersion]: ...


class PromptService:
    """Adds, finds and renders templates."""

    def __init__(self, store: PromptStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._environment = PromptEnvironment()

    def add(self, name: str, template: str, by: str) -> PromptVersion:
        """A new version of ``name``. ``ValidationFailed`` for a template that cannot be read."""
        if not name or len(name) > 100 or not all(part.isidentifier() for part in name.replace("-", "_").split(".")):
            raise ValidationFailed("a prompt's name is letters, digits, '_', '-' and '.'", param="name")
        return self._store.add(
            PromptVersion(
                name=name,
                version=0,
                template=template,
                variables=self.variables(template),
                hash=hashlib.sha256(template.encode()).hexdigest(),
                created_by=by,
                created_at=self._clock.now(),
            )
        )

    def get(self, name: str, version: int | None = None) -> PromptVersion:
        """That version, or the newest. ``NotFound`` otherwise."""
        found = self._store.get(name, version)
        if found is None:
            raise NotFound("no prompt of that name and version", mend="GET /prompts lists them", param="template")
        return found

    def newest(self) -> list[PromptVersion]:
        """The newest version of each."""
        return self._store.newest()

    def versions(self, name: str) -> list[PromptVersion]:
        """Every version, newest first."""
        return self._store.versions(name)

    def variables(self, template: str) -> tuple[str, ...]:
        """The names the template uses, sorted. ``ValidationFailed`` names the line of an error."""
        if len(template) > _LONGEST_TEMPLATE:
            raise ValidationFailed(f"a template has at most {_LONGEST_TEMPLATE} characters", param="template")
        try:
            parsed = self._environment.parse(template)
        except TemplateSyntaxError as error:
            raise ValidationFailed(f"line {error.lineno} of the template: {error.message}", param="template") from None
        except RecursionError:
            raise ValidationFailed("the template is nested too deep", param="template") from None
        return tuple(sorted(meta.find_undeclared_variables(parsed)))

    def render(self, template: Any, variables: Mapping[str, Any]) -> str:
        """The text. ``template`` is a stored name (``name`` or ``name@3``), ``{name, version?}``, or
        ``{"text": …}`` (a text with ``{{`` is taken as a template itself)."""
        text = self._text(template)
        if not isinstance(variables, Mapping):
            raise ValidationFailed("variables is an object", param="variables")
        missing = [name for name in self.variables(text) if name not in variables]
        if missing:
            raise ValidationFailed(
                f"the template needs: {', '.join(missing)}", mend="give each in variables", param="variables"
            )
        try:
            return self._environment.render(text, variables)
        except UndefinedError as error:
            raise ValidationFailed(f"the template: {error.message}", param="variables") from None
        except SecurityError as error:
            raise ValidationFailed(f"the template: {error.message}", param="template") from None
        except _FAILURES as error:
            raise ValidationFailed(
                f"the template cannot be rendered with these variables ({type(error).__name__})", param="template"
            ) from None

    def _text(self, template: Any) -> str:
        if isinstance(template, str):
            if "{{" in template or "{%" in template:
                return template
            name, _, version = template.partition("@")
            if version and not version.isdigit():
                raise ValidationFailed("a prompt's version is a number: name@3", param="template")
            return self.get(name, int(version) if version else None).template
        if isinstance(template, Mapping):
            if isinstance(template.get("text"), str):
                return str(template["text"])
            stored, number = template.get("name") or template.get("id"), template.get("version")
            if isinstance(stored, str) and (
                number is None or (isinstance(number, int) and not isinstance(number, bool))
            ):
                return self.get(stored, number).template
        raise ValidationFailed(
            "template is a stored prompt's name, {name, version}, or {text}",
            mend='such as "risk-summary@2"',
            param="template",
        )
