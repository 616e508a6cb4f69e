"""Prompt templates: stored in versions that never change, found by version or label, rendered in a sandbox."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from jinja2 import TemplateError, meta
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError

from gateway.clock import Clock
from gateway.errors import NotFound, ValidationFailed
from gateway.models.llm_models import Message, TextPart
from gateway.registry.prompt_ask import PromptAsk
from gateway.registry.prompt_labels import (
    PRODUCTION,
    LabelMove,
    LabelStore,
    PromptLabels,
    SplitKey,
    Target,
    check_label,
    choose,
)
from gateway.registry.prompt_results import PromptResults
from gateway.registry.prompt_sandbox import PromptEnvironment
from gateway.registry.prompt_variables import check_values, undeclared
from gateway.registry.prompt_version import LONGEST_TEMPLATE, NewPrompt, PromptVersion, Rendered

#: What a template's own doing may raise; anything else is our mistake.
_FAILURES = (
    TemplateError, TypeError, AttributeError, LookupError, RecursionError, ValueError, MemoryError, ArithmeticError
)  # fmt: skip
_KEPT_VERSIONS = 200
_KEPT_LABELS = 1_000
#: How long a label is believed to point where it did: another process may have moved it.
_LABEL_SECONDS = 1.0


class PromptStore(LabelStore, Protocol):
    """Where templates and their labels are kept."""

    def add(self, prompt: PromptVersion) -> PromptVersion:
        """Stores it under the next number of its name."""
        ...

    def get(self, name: str, version: int | None) -> PromptVersion | None:
        """That version, or the newest."""
        ...

    def newest(self) -> list[PromptVersion]:
        """The newest version of each name."""
        ...

    def versions(self, name: str) -> list[PromptVersion]:
        """Newest first."""
        ...


class PromptService:
    """Adds, finds and renders templates, and moves their labels. Every method may block on the database."""

    def __init__(self, store: PromptStore, clock: Clock, results: PromptResults) -> None:
        self._store = store
        self._clock = clock
        self._environment = PromptEnvironment()
        self._versions: OrderedDict[tuple[str, int], PromptVersion] = OrderedDict()
        self._pointed: dict[tuple[str, str], tuple[float, LabelMove | PromptVersion | None]] = {}
        self.labels = PromptLabels(store, clock)
        self.results = results

    def add(self, new: NewPrompt, by: str) -> PromptVersion:
        """A new version. ``ValidationFailed`` for a text that cannot be read, or uses what is not declared."""
        used = sorted({name for text in new.texts for name in self._names(text, "template")})
        declared = {variable.name for variable in new.inputs}
        left_out = [name for name in used if name not in declared]
        if declared and left_out:
            raise ValidationFailed(
                f"variables: the template uses {', '.join(left_out)}",
                mend="declare every variable, or none of them",
                param=f"variables.{left_out[0]}",
            )
        added = self._store.add(
            PromptVersion(
                **{field: getattr(new, field) for field in NewPrompt.__struct_fields__},
                version=0,
                variables=tuple(used),
                digest=new.hash(),
                created_by=by,
                created_at=self._clock.now(),
            )
        )
        self._pointed.clear()
        return added

    def get(self, name: str, version: int | None = None, *, param: str = "template") -> PromptVersion:
        """That version, or the newest. ``NotFound`` otherwise."""
        if version is not None and (name, version) in self._versions:
            return self._versions[name, version]
        found = self._store.get(name, version)
        if found is None:
            raise NotFound("no prompt of that name and version", mend="GET /prompts lists them", param=param)
        self._versions[name, found.version] = found
        if len(self._versions) > _KEPT_VERSIONS:
            self._versions.popitem(last=False)
        return found

    def newest(self) -> list[PromptVersion]:
        """The newest version of each."""
        return self._store.newest()

    def versions(self, name: str) -> list[PromptVersion]:
        """Every version, newest first. ``NotFound`` where there is none."""
        found = self._store.versions(name)
        if not found:
            raise NotFound("no prompt of that name", mend="GET /prompts lists them", param="name")
        return found

    # -- labels -----------------------------------------------------------------------------------

    def point(self, name: str, label: str, targets: tuple[Target, ...], by: str, reason: str = "") -> LabelMove:
        """Points the label at versions, all of which take the same variables: each of them may be asked."""
        check_label(label)
        names = [
            (target.version, {one.name for one in inputs_of(self.get(name, target.version, param="version"))})
            for target in targets
        ]
        for version, taken in names[1:]:
            differing = sorted(taken ^ names[0][1])
            if differing:
                raise ValidationFailed(
                    f"split: versions {names[0][0]} and {version} take different variables: {', '.join(differing)}",
                    mend="add a version that declares them all; it need not use them",
                    param="split",
                )
        moved = self.labels.point(name, label, targets, by, reason)
        self._pointed.clear()
        return moved

    def remove(self, name: str, label: str, by: str, reason: str = "") -> LabelMove:
        """Takes the label away."""
        moved = self.labels.remove(name, label, by, reason)
        self._pointed.clear()
        return moved

    def rollback(self, name: str, label: str, by: str, reason: str = "", revision: int | None = None) -> LabelMove:
        """Points the label back; see ``PromptLabels.rollback``."""
        moved = self.labels.rollback(name, label, by, reason, revision)
        self._pointed.clear()
        return moved

    # -- rendering --------------------------------------------------------------------------------

    def render(self, ask: PromptAsk, key: SplitKey) -> Rendered:
        """The messages. A stored prompt without version and label is what ``production`` points at,
        else its newest version."""
        if ask.text is not None:
            values = check_values(undeclared(self._names(ask.text, ask.place)), ask.variables, ask.values)
            return Rendered(self._messages(NewPrompt("", ask.text), values, ask))
        version, note = self._resolve(ask, key)
        values = check_values(inputs_of(version), ask.variables, ask.values)
        return Rendered(self._messages(version, values, ask), version.defaults, note)

    def _resolve(self, ask: PromptAsk, key: SplitKey) -> tuple[PromptVersion, dict[str, Any]]:
        if ask.version is not None:
            version = self.get(ask.name, ask.version, param=ask.place)
            return version, _note(version)
        pointed = self._point_of(ask.name, ask.label or PRODUCTION)
        if isinstance(pointed, LabelMove):
            target = choose(ask.name, pointed.label, pointed.targets, key)
            version = self.get(ask.name, target.version, param=ask.place)
            return version, _note(version, pointed, key)
        if ask.label:
            self.get(ask.name, param=ask.place)
            raise NotFound(
                f"the prompt has no label {ask.label!r}", mend="GET /prompts/{name} lists them", param=ask.place
            )
        version = self._newest(ask.name, ask.place)
        return version, _note(version)

    def _point_of(self, name: str, label: str) -> LabelMove | None:
        kept = self._kept(name, label)
        if kept is not None:
            return kept[0] if isinstance(kept[0], LabelMove) else None
        found = self.labels.current(name, label)
        self._keep(name, label, found)
        return found

    def _newest(self, name: str, param: str) -> PromptVersion:
        kept = self._kept(name, "")
        if kept is not None and isinstance(kept[0], PromptVersion):
            return kept[0]
        found = self.get(name, param=param)
        self._keep(name, "", found)
        return found

    def _kept(self, name: str, label: str) -> tuple[LabelMove | PromptVersion | None] | None:
        kept = self._pointed.get((name, label))
        return None if kept is None or kept[0] < self._clock.monotonic() else (kept[1],)

    def _keep(self, name: str, label: str, value: LabelMove | PromptVersion | None) -> None:
        if len(self._pointed) >= _KEPT_LABELS:
            self._pointed.clear()
        self._pointed[name, label] = (self._clock.monotonic() + _LABEL_SECONDS, value)

    def _names(self, text: str, param: str) -> tuple[str, ...]:
        """The names a text uses, sorted. ``ValidationFailed`` names the line of an error."""
        if len(text) > LONGEST_TEMPLATE:
            raise ValidationFailed(f"a template has at most {LONGEST_TEMPLATE} characters", param=param)
        try:
            parsed = self._environment.parse(text)
            self._environment.compile(text)
        except TemplateSyntaxError as error:
            raise ValidationFailed(f"line {error.lineno} of the template: {error.message}", param=param) from None
        except _FAILURES:
            raise ValidationFailed("the template is nested too deep", param=param) from None
        return tuple(sorted(meta.find_undeclared_variables(parsed)))

    def _messages(self, prompt: NewPrompt, values: Mapping[str, Any], ask: PromptAsk) -> tuple[Message, ...]:
        texts = self._rendered(prompt.texts, values, ask)
        roles = [turn.role for turn in prompt.turns] or ["user"]
        made = [Message(role, (TextPart(text),)) for role, text in zip(roles, texts, strict=True) if text.strip()]
        if not made:
            raise ValidationFailed("the prompt is empty with these variables", param=ask.values)
        return tuple(made)

    def _rendered(self, texts: Sequence[str], values: Mapping[str, Any], ask: PromptAsk) -> list[str]:
        try:
            return self._environment.render_all(texts, values)
        except UndefinedError as error:
            raise ValidationFailed(f"the template: {error.message}", param=ask.values) from None
        except SecurityError as error:
            raise ValidationFailed(f"the template: {error.message}", param=ask.place) from None
        except _FAILURES as error:
            raise ValidationFailed(
                f"the template cannot be rendered with these variables ({type(error).__name__})", param=ask.place
            ) from None


def inputs_of(version: PromptVersion) -> Any:
    """What a version takes: as declared, else each name that it uses."""
    return version.inputs or undeclared(version.variables)


def _note(version: PromptVersion, move: LabelMove | None = None, key: SplitKey | None = None) -> dict[str, Any]:
    """What stands in the record of a call: never what the key was, only its kind."""
    note: dict[str, Any] = {"id": version.name, "version": version.version, "hash": version.digest[:12]}
    if move is not None:
        note |= {"label": move.label, "revision": move.revision}
        if len(move.targets) > 1 and key is not None:
            note["split"] = {"weights": {str(one.version): one.weight for one in move.targets}, "by": key.kind}
    return note


def view_of_inputs(version: PromptVersion) -> dict[str, Any]:
    """The variables as JSON: what each may be, by its name."""
    found = {}
    for variable in inputs_of(version):
        told = {"type": variable.type, "required": variable.required, **msgspec.to_builtins(variable)}
        del told["name"]
        found[variable.name] = told
    return found
