"""Schedules: a workflow run at times of a cron expression, and once for each time of a range that is past."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from gateway.clock import Clock, from_rfc3339, rfc3339
from gateway.engine.claim import dispatch
from gateway.engine.control import begin
from gateway.engine.cron import parse_cron
from gateway.engine.ports import EngineTx
from gateway.engine.rows import KeyedLimit, NewRun
from gateway.engine.schedules import CATCH_UP, OVERLAP, Schedule, times_between, to_begin
from gateway.engine.states import RUN_LIVE
from gateway.errors import GatewayError, NotFound, ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.ids import new_id
from gateway.security.access import Caller
from gateway.store.run_reader import KeptDefinition, RunFound
from gateway.tasks.run_making import RunMaker
from gateway.tasks.submission import RunSubmission, read_run

_log = logging.getLogger(__name__)
_FIELDS = ("workflow_id", "cron", "timezone", "catch_up", "overlap", "run")
_BACKFILL_FIELDS = ("cron", "timezone", "from", "to", "run", "concurrency")
#: Runs of one backfill.
MOST_BACKFILLED = 500


class ScheduleStore(Protocol):
    """Where schedules are kept; see ``store.schedule_store``."""

    def add(self, new: Schedule) -> None: ...

    def get(self, schedule_id: str) -> Schedule | None: ...

    def all(self, owner: str | None) -> list[Schedule]: ...

    def due(self, now: int, limit: int) -> list[Schedule]: ...

    def set_active(self, schedule_id: str, active: bool, next_at: int) -> None: ...

    def remove(self, schedule_id: str) -> None: ...


class ScheduleReader(Protocol):
    """What is asked of definitions and runs."""

    def definition(self, workflow_id: str) -> KeptDefinition | None: ...

    def run(self, run_id: str) -> RunFound | None: ...


class Schedules:
    """One a process; thread safe."""

    def __init__(self, maker: RunMaker, store: ScheduleStore, reader: ScheduleReader, clock: Clock) -> None:
        self._maker = maker
        self._store = store
        self._reader = reader
        self._clock = clock

    # -- what people do ---------------------------------------------------------------------------

    def create(self, caller: Caller, raw: Mapping[str, Any], request_id: str) -> dict[str, Any]:
        """A new schedule; checked whole, as if a run began now."""
        caller.require("workflows:run")
        refuse_unknown(raw, _FIELDS, "")
        workflow_id = text_field(raw, "workflow_id", required=True)
        cron, zone = raw.get("cron"), raw.get("timezone", "UTC")
        parsed = parse_cron(cron, zone)
        run = raw.get("run", {})
        new = Schedule(
            schedule_id=new_id("sched"),
            workflow_id=workflow_id,
            owner=caller.principal,
            caller=caller,
            cron=str(cron),
            timezone=str(zone),
            catch_up=_word(raw, "catch_up", "one", CATCH_UP),
            overlap=_word(raw, "overlap", "allow", OVERLAP),
            run=run,
            active=True,
            next_at=parsed.after(self._clock.now()),
            created_at=self._clock.now(),
        )
        self._made(new, new.next_at, request_id)
        self._store.add(new)
        return view(new)

    def all(self, caller: Caller) -> list[dict[str, Any]]:
        """The caller's schedules, or everybody's."""
        caller.require("workflows:read")
        owner = None if caller.may("runs:read_all") else caller.principal
        return [view(one) for one in self._store.all(owner)]

    def show(self, caller: Caller, schedule_id: str) -> dict[str, Any]:
        return view(self._own(caller, schedule_id, "workflows:read"))

    def set_active(self, caller: Caller, schedule_id: str, active: bool) -> dict[str, Any]:
        """Pauses a schedule, or lets it go on; times that passed meanwhile are let be."""
        found = self._own(caller, schedule_id, "workflows:run")
        self._store.set_active(schedule_id, active, parse_cron(found.cron, found.timezone).after(self._clock.now()))
        return self.show(caller, schedule_id)

    def remove(self, caller: Caller, schedule_id: str) -> None:
        """Runs that began stay."""
        self._own(caller, schedule_id, "workflows:run")
        self._store.remove(schedule_id)

    def backfill(self, caller: Caller, workflow_id: str, raw: Mapping[str, Any], request_id: str) -> list[str]:
        """One run for each time of a range, at most ``concurrency`` steps of them at once; their ids."""
        caller.require("workflows:run")
        refuse_unknown(raw, _BACKFILL_FIELDS, "")
        start, end = _moment(raw, "from"), _moment(raw, "to")
        parse_cron(raw.get("cron"), raw.get("timezone", "UTC"))
        times = times_between(str(raw["cron"]), str(raw.get("timezone", "UTC")), start, end, MOST_BACKFILLED)
        if not times or len(times) > MOST_BACKFILLED:
            count = "no time" if not times else f"more than {MOST_BACKFILLED} times"
            raise ValidationFailed(f"from, to: there is {count} of this schedule in between", param="from")
        concurrency = raw.get("concurrency", 4)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 1000:
            raise ValidationFailed("concurrency: a whole number from 1 to 1000", param="concurrency")
        given = read_run(raw.get("run", {}))
        name = new_id("fill")
        limit = KeyedLimit(f"backfill:{name}", concurrency, None, 1)
        made = [self._run(caller, workflow_id, given, at, request_id) for at in times]
        for at, run in zip(times, made, strict=True):
            steps = tuple(msgspec.structs.replace(one, limits=(*one.limits, limit)) for one in run.steps)
            origin = {"how": "backfill", "backfill": name, "scheduled_at": rfc3339(at)}
            self._maker.begin(msgspec.structs.replace(run, steps=steps, origin=origin))
        return [run.run_id for run in made]

    # -- what the clock does ----------------------------------------------------------------------

    def sweep(self) -> int:
        """Begins the runs that are due; how many. Any number of processes may sweep: each time is begun once."""
        now, begun = self._clock.now(), 0
        for schedule in self._store.due(now, 100):
            try:
                begun += self._begin_due(schedule, now)
            except GatewayError as error:
                _log.warning("schedule %s brought no run: %s", schedule.schedule_id, error.message)
                next_at = parse_cron(schedule.cron, schedule.timezone).after(now)
                with self._maker.store.begin() as tx:
                    tx.advance_schedule(schedule, next_at, last_at=None, run_id=None, note=error.message[:500])
        return begun

    def _begin_due(self, schedule: Schedule, now: int) -> int:
        times, next_at = to_begin(schedule, now)
        note = "" if times else "its times had passed unseen"
        if times and schedule.overlap == "skip" and self._goes_on(schedule):
            times, note = [], "the run before goes on"
        runs = [self._made(schedule, at, new_id("req")) for at in times]
        last_run = runs[-1].run_id if runs else None
        with self._maker.store.begin() as tx:
            last_at = times[-1] if times else None
            if not tx.advance_schedule(schedule, next_at, last_at=last_at, run_id=last_run, note=note):
                return 0
            doorbells = [bell for run in runs for bell in self._begun(tx, run, now)]
        self._maker.executor.ring(doorbells)
        return len(runs)

    @staticmethod
    def _begun(tx: EngineTx, run: NewRun, now: int) -> list[Any]:
        begin(tx, run, now)
        return dispatch(tx, now, run_id=run.run_id)

    def _goes_on(self, schedule: Schedule) -> bool:
        found = None if schedule.last_run_id is None else self._reader.run(schedule.last_run_id)
        return found is not None and found.run.status in RUN_LIVE

    def _made(self, schedule: Schedule, at: int, request_id: str) -> NewRun:
        run = self._run(schedule.caller, schedule.workflow_id, read_run(schedule.run), at, request_id)
        origin = {"how": "schedule", "schedule_id": schedule.schedule_id, "scheduled_at": rfc3339(at)}
        return msgspec.structs.replace(run, origin=origin)

    def _run(self, caller: Caller, workflow_id: str, given: RunSubmission, at: int, request_id: str) -> NewRun:
        kept = self._reader.definition(workflow_id)
        if kept is None:
            raise NotFound("no workflow of that id is defined", mend="GET /workflows lists them", param="workflow_id")
        given = msgspec.structs.replace(given, input={"scheduled_at": rfc3339(at), **given.input})
        return self._maker.of_definition(caller, kept, given, request_id)

    def _own(self, caller: Caller, schedule_id: str, permission: str) -> Schedule:
        caller.require(permission)
        found = self._store.get(schedule_id)
        if found is None or not caller.may_see(found.owner):
            raise NotFound("no schedule of that id is yours", mend="GET /schedules lists yours", param="schedule_id")
        return found


def view(schedule: Schedule) -> dict[str, Any]:
    """What people see of a schedule."""
    return {
        "schedule_id": schedule.schedule_id,
        "workflow_id": schedule.workflow_id,
        "owner": schedule.owner,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        "run": schedule.run,
        "active": schedule.active,
        "next_at": rfc3339(schedule.next_at) if schedule.active else None,
        "last_at": None if schedule.last_at is None else rfc3339(schedule.last_at),
        "last_run_id": schedule.last_run_id,
        "note": schedule.note,
        "created_at": rfc3339(schedule.created_at),
    }


def _word(raw: Mapping[str, Any], name: str, default: str, known: tuple[str, ...]) -> str:
    value = raw.get(name, default)
    if value not in known:
        raise ValidationFailed(f"{name}: one of {', '.join(known)}", param=name)
    return str(value)


def _moment(raw: Mapping[str, Any], name: str) -> int:
    try:
        return from_rfc3339(raw[name])
    except (KeyError, ValueError, TypeError, OverflowError):
        raise ValidationFailed(
            f"{name}: a time with its zone", mend="such as 2026-01-31T06:00:00Z", param=name
        ) from None
