"""``guards`` of ``models.yaml``: the default of all models, and a model's own; strict, with line numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from gateway.models.guard import RULES, Action, GuardSpec, Stage, offered_guards
from gateway.models.guard_kinds import CREDENTIALS, PERSONAL_DATA
from gateway.models.json_schema import ready_schema
from gateway.registry.catalogue import ModelSpec
from gateway.registry.yaml_lines import Document, Path_

_MOST_TERMS, _LONGEST_TERM = 500, 80
_WHOLE = ("max_characters", "max_turns", "max_images")
_KINDS: Mapping[str, tuple[str, ...]] = {"pii": PERSONAL_DATA, "secrets": CREDENTIALS}


def guards_of(document: Document, path: Path_, raw: Any, kind: str = "llm") -> tuple[GuardSpec, ...]:
    """The guards of a list, in its order: each a name, or an object with ``guard``."""
    if not isinstance(raw, list):
        raise document.wrong(path, "a list of guards is expected here", "such as [pii, secrets]")
    guards = tuple(_guard(document, (*path, at), item) for at, item in enumerate(raw))
    names = [guard.name for guard in guards]
    for at, guard in enumerate(guards):
        if names.index(guard.name) != at:
            raise document.wrong(
                (*path, at), f"the guard {guard.name!r} stands here twice", 'give one of them a "name"'
            )
        if kind != "llm" and "input" not in guard.stages:
            raise document.wrong((*path, at), f"an {kind} model gives no text that {guard.name!r} could read")
    return guards


def with_reach(models: Mapping[str, ModelSpec]) -> dict[str, ModelSpec]:
    """The models, each with the guards of every model that its calls may go on to: what one deployment
    must not see, a call that may end there does not carry."""
    reached = {}
    for name, spec in models.items():
        guards = dict.fromkeys(guard.name for guard in spec.guards)
        more = [guard for other in _reach(spec, models) for guard in models[other].guards if guard not in spec.guards]
        fresh = [guard for at, guard in enumerate(more) if guard not in more[:at]]
        merged = list(spec.guards)
        for guard in fresh:
            label = guard.name
            while label in guards:
                label += "+"
            guards[label] = None
            merged.append(GuardSpec(guard.guard, label, guard.action, guard.stages, guard.options))
        reached[name] = spec if not fresh else _replace(spec, tuple(merged))
    return reached


def _replace(spec: ModelSpec, guards: tuple[GuardSpec, ...]) -> ModelSpec:
    values = {name: getattr(spec, name) for name in spec.__struct_fields__}
    return ModelSpec(**{**values, "guards": guards})


def _reach(spec: ModelSpec, models: Mapping[str, ModelSpec]) -> Iterable[str]:
    """Deployments and fallbacks, and the deployments of those that are routes."""
    named = [*spec.fallbacks, *(item for names in spec.fallbacks_on.values() for item in names)]
    for name in (spec.name, *named):
        if name != spec.name:
            yield name
        route = models[name].route
        yield from (item.model for item in route.deployments) if route is not None else ()


def _guard(document: Document, path: Path_, raw: Any) -> GuardSpec:
    given: dict[str, Any] = {"guard": raw} if isinstance(raw, str) else raw
    if not isinstance(given, dict):
        raise document.wrong(path, "the name of a guard, or an object with one, is expected here")
    guard = str(given.get("guard"))
    if guard not in RULES:
        raise document.wrong((*path, "guard"), "no such guard", f"known guards: {', '.join(RULES)}")
    rule = RULES[guard]
    known = {"guard", "name", "action", "on", *rule.options}
    for key in given:
        if key not in known:
            raise document.wrong((*path, key), "no such field", f"fields of {guard}: {', '.join(sorted(known))}")
    action = given.get("action", rule.actions[0])
    if action not in rule.actions:
        raise document.wrong((*path, "action"), f"{guard} cannot do that", f"it can: {', '.join(rule.actions)}")
    options = {key: value for key, value in given.items() if key in rule.options}
    _check_options(document, path, guard, options)
    name = given.get("name", guard)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_.-]{0,39}", name):
        raise document.wrong((*path, "name"), "small letters, digits, and . _ - are expected here")
    return GuardSpec(guard, name, cast(Action, action), _stages(document, path, guard, given), options)


def _stages(document: Document, path: Path_, guard: str, given: Mapping[str, Any]) -> tuple[Stage, ...]:
    rule = RULES[guard]
    on = given.get("on", list(rule.stages) if rule.both else [rule.stages[0]])
    named = [on] if isinstance(on, str) else on
    if not isinstance(named, list) or not named or not all(item in rule.stages for item in named):
        raise document.wrong((*path, "on"), f"{guard} looks at: {', '.join(rule.stages)}")
    return cast(tuple[Stage, ...], tuple(dict.fromkeys(named)))


def _check_options(document: Document, path: Path_, guard: str, options: dict[str, Any]) -> None:
    for name, value in options.items():
        place = (*path, name)
        if name in _WHOLE:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000_000:
                raise document.wrong(place, "a whole number is expected here")
        elif name in ("restore", "repair"):
            if not isinstance(value, bool):
                raise document.wrong(place, "true or false is expected here")
        elif name == "threshold":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 100:
                raise document.wrong(place, "a number above 0 is expected here", "1 is the usual")
        elif name in ("schema", "options"):
            if not isinstance(value, dict):
                raise document.wrong(place, "an object is expected here")
            if name == "schema":
                _check_schema(document, place, value)
        elif name == "kinds":
            known = _KINDS[guard]
            if not isinstance(value, list) or not value or not all(item in known for item in value):
                raise document.wrong(place, "a list of known kinds is expected here", f"known: {', '.join(known)}")
        elif name in ("terms", "banned"):
            _check_texts(document, place, value, patterns=name == "banned")
    if guard in ("limits", "output") and not options:
        raise document.wrong(
            path, f"{guard} without a limit looks at nothing", f"set one of {', '.join(sorted(RULES[guard].options))}"
        )
    if guard == "custom" and options.get("name") not in offered_guards():
        raise document.wrong(
            (*path, "name"),
            "no installed package offers a guard of that name",
            f"offered now: {', '.join(sorted(offered_guards())) or 'none'}",
        )


def _check_schema(document: Document, path: Path_, value: dict[str, Any]) -> None:
    try:
        ready_schema(value)
    except ValueError as error:
        raise document.wrong(path, f"not a JSON schema that can be checked: {error}") from None


def _check_texts(document: Document, path: Path_, value: Any, *, patterns: bool) -> None:
    longest = 500 if patterns else _LONGEST_TERM
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_TERMS:
        raise document.wrong(path, f"a list of 1 to {_MOST_TERMS} texts is expected here")
    for at, item in enumerate(value):
        if not isinstance(item, str) or not 1 < len(item.strip()) <= longest:
            raise document.wrong((*path, at), f"a text of 2 to {longest} characters is expected here")
        if patterns:
            try:
                re.compile(item)
            except re.error as error:
                raise document.wrong((*path, at), f"not a regular expression: {error}") from None
