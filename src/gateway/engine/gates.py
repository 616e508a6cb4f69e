"""Whether a step may begin once everything it depends on has ended. Decides; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from gateway.engine.conditions import Node, holds, parse_condition
from gateway.engine.mapping import Reference, Source, StepOutput, look_up, value_of
from gateway.engine.rows import ItemEnd, RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.errors import GatewayError, ValidationFailed
from gateway.models.plain_text import plain_text

#: Characters of an error's message that are kept with a step.
_LONGEST_TOLD = 10_000
#: Items of one list.
MOST_ITEMS = 10_000


def source_of(run: RunRow, steps: Sequence[StepRow]) -> Source:
    """What references lead to: those steps that completed, and why others failed."""
    outputs = {}
    for step in steps:
        if step.state == "completed":
            outputs[step.step_id] = StepOutput(step.output or {}, step.published or {})
        elif step.state == "failed":
            outputs[step.step_id] = StepOutput({}, {}, step.error)
    return Source(run.input, outputs)


def reason_to_skip(spec: StepDefinition, states: Mapping[str, str], source: Source) -> str | None:
    """Why the step does not run; ``None`` where it does. ``ValidationFailed`` for a condition that compares what
    has no order."""
    if spec.handles and not any(states.get(name) == "failed" for name in spec.handles):
        return "there is no failure to deal with"
    others = {name: states[name] for name in spec.dependencies if name not in spec.handles}
    unfinished = [name for name, state in others.items() if state != "completed"]
    if spec.join == "all" and unfinished:
        return f"step {unfinished[0]!r} is {others[unfinished[0]]}"
    if spec.join == "any" and others and len(unfinished) == len(others):
        return "no step before it has completed"
    if spec.when is not None and not holds(_condition(spec.when), lambda ref, text: _looked_up(ref, source, text)):
        return f"the condition does not hold: {spec.when}"
    return None


def list_of(step: StepRow, source: Source) -> list[Any]:
    """The list that the step is done for. ``ValidationFailed`` where it is none, or too long."""
    place = f"{step.step_id}.for_each"
    assert step.spec.for_each is not None  # noqa: S101 - asked only of such steps
    found = value_of(step.spec.for_each.over, source, place)
    if not isinstance(found, list):
        kind = "nothing" if found is None else f"a value of type {type(found).__name__}"
        raise ValidationFailed(f"{place}: a list is needed, this is {kind}", mend="give it a list", param=place)
    if len(found) > MOST_ITEMS:
        raise ValidationFailed(
            f"{place}: {len(found)} items, at most {MOST_ITEMS} are done",
            mend="hand them in as several runs",
            param=place,
        )
    return found


def gathered(items: Sequence[ItemEnd]) -> dict[str, Any]:
    """What a step gives that was done for each item of a list: results in the list's order, ``None`` for an item
    that failed."""
    failed = [
        {"index": item.item_index, **(item.error or {"code": item.state, "message": f"it was {item.state}"})}
        for item in items
        if item.state != "completed"
    ]
    results = [item.output if item.state == "completed" else None for item in items]
    return {"results": results, "errors": failed, "count": len(items)}


def published_of(spec: StepDefinition, output: Mapping[str, Any]) -> dict[str, Any]:
    """What the step publishes of its output."""
    return {
        name: output if produced == "result" else output.get(produced) for name, produced in spec.output_mapping.items()
    }


def kept_error(error: GatewayError) -> dict[str, Any]:
    """An error as steps and runs keep it."""
    message, mend = plain_text(error.message, _LONGEST_TOLD), plain_text(error.mend, _LONGEST_TOLD)
    kept: dict[str, Any] = {"code": error.code, "message": message, "mend": mend}
    if error.param is not None:
        kept["param"] = error.param
    if error.retry_after is not None:
        kept["retry_after"] = error.retry_after
    if error.details:
        kept["details"] = error.details
    return kept


@lru_cache(maxsize=1024)
def _condition(text: str) -> Node:
    return parse_condition(text, "when")


def _looked_up(reference: Reference, source: Source, text: str) -> Any:
    return look_up(reference, source, text)
