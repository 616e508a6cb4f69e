"""What a run was made of, whether it comes out the same again, and steps that failed for good."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from gateway.clock import rfc3339
from gateway.engine.nested import workflows_pinned
from gateway.engine.rows import BegunCall, KeptCall, NewStep, Reused, RunRow, StepRow
from gateway.engine.states import RUN_LIVE
from gateway.engine.step_definition import CONTROL
from gateway.errors import Conflict, NotFound
from gateway.ids import new_id
from gateway.money import usd
from gateway.security.access import Caller
from gateway.store.run_reader import RunFound
from gateway.tasks.run_control import RunControl
from gateway.tasks.step_calls import hash_of
from gateway.tasks.submission import Rerun
from gateway.tasks.views import LISTED


class HistoryReader(Protocol):
    """What is asked of the store; see ``store.run_reader`` and ``store.schedule_store``."""

    def run(self, run_id: str) -> RunFound | None: ...

    def task(self, task_id: str) -> tuple[RunRow, StepRow] | None: ...


class RunRecords(Protocol):
    """See ``store.schedule_store.SqlRunRecords``."""

    def entries(self, run_id: str) -> list[dict[str, Any]]: ...

    def runs_of_items(self, run_id: str) -> dict[str, list[str]]: ...

    def dead_letters(self, owner: str | None, limit: int, task_id: str | None = None) -> list[dict[str, Any]]: ...

    def close_dead_letter(self, task_id: str, by: str, closed_as: str, now: int) -> bool: ...


class KeptCalls(Protocol):
    """See ``store.step_call_store``."""

    def of_run(self, run_id: str) -> list[KeptCall]: ...

    def unanswered_in(self, run_id: str) -> list[BegunCall]: ...


class RunHistory:
    """One a process; thread safe."""

    def __init__(self, control: RunControl, reader: HistoryReader, records: RunRecords, calls: KeptCalls) -> None:
        self._control = control
        self._reader = reader
        self._records = records
        self._calls = calls

    def lineage(self, caller: Caller, run_id: str) -> dict[str, Any]:
        """Everything a run's numbers depend on: versions, hashes, models, prompts, entries of the ledger."""
        run, steps = self._run(caller, run_id)
        calls: dict[str, list[dict[str, Any]]] = {}
        for call in self._calls.of_run(run_id):
            calls.setdefault(call.task_id, []).append(_call_view(call))
        for begun in self._calls.unanswered_in(run_id):
            calls.setdefault(begun.task_id, []).append(_unanswered_view(begun))
        entries: dict[str | None, list[dict[str, Any]]] = {}
        for entry in self._records.entries(run_id):
            told = {**entry, "cost": usd(entry["cost"]), "at": rfc3339(entry["at"])}
            entries.setdefault(told.pop("task_id"), []).append(told)
        runs = self._records.runs_of_items(run_id)
        told_of = {step.task_id: step.step_id for step in steps}
        items = [task_id for task_id in {*calls, *entries} if task_id is not None and task_id not in told_of]
        return {
            "run_id": run.run_id,
            "workflow_id": run.workflow_id,
            "status": run.status,
            "definition": run.definition_hash,
            "workflows_within": workflows_pinned(run.pins),
            "config_epoch": run.config_epoch,
            "origin": run.origin,
            "input": hash_of(run.input),
            "output": None if run.output is None else hash_of(run.output),
            "steps": [_step_view(step, calls, entries, runs) for step in steps],
            "items": [
                {"task_id": task_id, "calls": calls.get(task_id, []), "entries": entries.get(task_id, [])}
                for task_id in sorted(items)
            ],
            **self._compared(run, steps),
        }

    def replay(self, caller: Caller, run_id: str, request_id: str) -> str:
        """A run that does a run's work again with the answers that language models gave then; its id. Approvals,
        signals and runs within are taken over. ``lineage`` of the new run says whether it came out equal."""
        run, steps = self._run(caller, run_id)
        if run.status in RUN_LIVE:
            raise Conflict(f"the run is {run.status}", mend="only what has ended is replayed")
        new = []
        for step in steps:
            over = step.state == "completed" and (step.task_type in CONTROL or "reused" in (step.record or {}))
            kept = Reused(step.task_id, step.output or {}, step.published or {}) if over else None
            spec = msgspec.structs.replace(step.spec, approval=None) if step.task_type not in CONTROL else step.spec
            new.append(NewStep(new_id("task"), spec, step.queue, kept))
        given = Rerun(input={}, priority=run.priority)
        return self._control.begin_from(caller, run, tuple(new), given, request_id, "replay")

    def dead_letters(self, caller: Caller, limit: int) -> list[dict[str, Any]]:
        """Steps that failed for good after all their attempts, and that nobody has dealt with."""
        caller.require("tasks:read")
        owner = None if caller.may("runs:read_all") else caller.principal
        return [_letter_view(row) for row in self._records.dead_letters(owner, limit)]

    def replay_dead_letter(self, caller: Caller, task_id: str, request_id: str) -> str:
        """Begins the step's run again from there; the new run's id."""
        letter = self._letter(caller, task_id)
        run_id = self._control.again(caller, letter["run_id"], Rerun(input={}), request_id)
        self._records.close_dead_letter(task_id, caller.principal, run_id, self._control.now())
        return run_id

    def dismiss(self, caller: Caller, task_id: str) -> None:
        """Lets a failed step be."""
        caller.require("tasks:write")
        self._letter(caller, task_id)
        self._records.close_dead_letter(task_id, caller.principal, "dismissed", self._control.now())

    def _letter(self, caller: Caller, task_id: str) -> dict[str, Any]:
        owner = None if caller.may("runs:read_all") else caller.principal
        found = self._records.dead_letters(owner, 1, task_id)
        if not found:
            raise NotFound("no dead letter of that id is yours", mend="GET /dead-letters lists yours", param="task_id")
        return found[0]

    def _compared(self, run: RunRow, steps: list[StepRow]) -> dict[str, Any]:
        """Of a replay: whether its steps gave what those of the run it repeats gave, and which versions changed."""
        origin = run.origin or {}
        found = self._reader.run(str(origin.get("run_id"))) if origin.get("how") == "replay" else None
        if found is None:
            return {}
        then = {step.step_id: step.output for step in found.steps}
        differ = [step.step_id for step in steps if hash_of(step.output) != hash_of(then.get(step.step_id))]
        changed = {
            name: change
            for step in found.steps
            for name, change in _changed(step, next((now for now in steps if now.step_id == step.step_id), step))
        }
        told = {"replay_of": found.run.run_id, "equal": not differ, "differing_steps": differ}
        return {**told, "changed_versions": changed}

    def _run(self, caller: Caller, run_id: str) -> tuple[RunRow, list[StepRow]]:
        caller.require("workflows:read")
        found = self._reader.run(run_id)
        if found is None or not caller.may_see(found.run.owner):
            raise NotFound("no run of that id is yours", mend=LISTED.format("runs"), param="run_id")
        return found.run, found.steps


def _step_view(
    step: StepRow, calls: dict[str, Any], entries: dict[str | None, Any], runs: dict[str, list[str]]
) -> dict[str, Any]:
    record, output = step.record or {}, step.output or {}
    stated = (step.spec.llm_config or {}).get("parameters") or {}
    seed = (step.input or {}).get("seed", output.get("seed", stated.get("seed")))
    return {
        "step_id": step.step_id,
        "task_id": step.task_id,
        "task_type": step.task_type,
        "status": step.state,
        "attempts": step.attempts,
        "input": None if step.input is None else hash_of(step.input),
        "output": None if step.output is None else hash_of(step.output),
        "versions": record.get("versions"),
        "model": output.get("model"),
        "model_version": output.get("version"),
        "seed": seed,
        "taken_over_from": record.get("reused") or record.get("cached"),
        "run": record.get("run"),
        "runs": runs.get(step.task_id, []),
        "decision": step.decision,
        "calls": calls.get(step.task_id, []),
        "entries": entries.get(step.task_id, []),
    }


def _changed(then: StepRow, now: StepRow) -> list[tuple[str, list[str | None]]]:
    """The versions that a step was done with, where they are others now: then and now."""
    old, new = ((step.record or {}).get("versions") or {} for step in (then, now))
    names = sorted({*old, *new}) if old and new else ()
    return [(name, [old.get(name), new.get(name)]) for name in names if old.get(name) != new.get(name)]


def _call_view(call: KeptCall) -> dict[str, Any]:
    return {
        "kind": call.kind,
        "model": call.model,
        "provider": call.provider,
        "version": call.version,
        "request": call.request,
        "prompt": msgspec.json.decode(call.notes).get("prompt"),
        "entry_id": call.entry_id,
        "answered": True,
        "at": rfc3339(call.at),
    }


def _unanswered_view(call: BegunCall) -> dict[str, Any]:
    """A call that was begun and has no answer; ``followed_by`` says what was done about it."""
    told = {"kind": "llm", "model": call.model, "request": call.request, "key": call.key, "token": call.token}
    return {**told, "answered": False, "followed_by": call.followed_by, "at": rfc3339(call.at)}


def _letter_view(row: dict[str, Any]) -> dict[str, Any]:
    names = ("task_id", "run_id", "step_id", "task_type", "owner", "code", "error", "attempts", "lost")
    return {**{name: row[name] for name in names}, "at": rfc3339(row["at"])}
