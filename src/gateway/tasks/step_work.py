"""The work of one attempt: what the step reads, its handler, what is kept of it; or an equal step's result."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

import gateway
from gateway.clock import SECOND, Clock
from gateway.engine.claim import Started
from gateway.engine.gates import source_of
from gateway.engine.mapping import Item, resolve
from gateway.engine.ports import EngineStore, EngineTx
from gateway.engine.rows import RunRow, StepRow
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import GatewayError, StepFailed, ValidationFailed
from gateway.models.finite import no_number
from gateway.tasks.step_calls import hash_of
from gateway.tasks.step_context import ContextFactory
from gateway.tasks.step_pulse import Pulse
from gateway.workflows.context import handled, no_figure
from gateway.workflows.task_types import load_handler

#: Bytes of JSON that a step may give; those beyond 64 KB are kept as artifacts.
LARGEST_OUTPUT = 4 * 1024 * 1024
#: Libraries whose versions decide numbers; the last runs the embedded language model.
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "lightgbm", "pyarrow", "xllamacpp")


class Done(Struct, frozen=True):
    """What an attempt gave. ``record`` tells how it came to be; ``keep`` is the key under which equal steps may
    take it, and until when."""

    output: dict[str, Any]
    record: dict[str, Any]
    keep: tuple[str, int] | None = None


class Ready(Struct, frozen=True):
    """A step that was begun, and what it reads: its input, and the outputs of all it comes after, nearest last; or
    why it cannot be read."""

    run: RunRow
    step: StepRow
    data: dict[str, Any]
    upstream: dict[str, dict[str, Any]]
    error: Exception | None = None


class StepWork:
    """One a process."""

    def __init__(
        self,
        store: EngineStore,
        contexts: ContextFactory,
        task_types: Mapping[str, TaskTypeSpec],
        clock: Clock,
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._task_types = task_types
        self._clock = clock
        self._versions = _versions()

    def ready(self, tx: EngineTx, started: Started) -> Ready:
        """What the step reads, kept with it; in the transaction that begins it. A step that cannot be read has begun
        all the same, and fails by its ``error``."""
        run, step = started.run, started.step
        try:
            data, upstream = self._input(tx, run, step)
        except GatewayError as error:
            return Ready(run, step, {}, {}, error)
        if run.kind != "task":
            tx.save_input(step, data, self._clock.now())
        return Ready(run, step, data, upstream)

    async def do(self, ready: Ready, pulse: Pulse) -> Done:
        """Raises whatever the handler raises, and ``StepFailed`` for what cannot be kept."""
        if ready.error is not None:
            raise ready.error
        run, step, data, upstream = ready.run, ready.step, ready.data, ready.upstream
        spec = self._spec(step)
        record: dict[str, Any] = {"versions": self._versions_of(spec), "input": hash_of(data)}
        key = self._key(run, step, spec, data, upstream)
        replays = (run.origin or {}).get("how") == "replay"
        if key is not None and not replays:
            kept = await asyncio.to_thread(self._kept, key)
            if kept is not None:
                return Done(kept[1], {**record, "output": hash_of(kept[1]), "cached": kept[0]})
        again = await asyncio.to_thread(self._contexts.made_again, step) if step.token > 1 else []
        if again:
            record["calls_made_again"] = again
        context = self._contexts.context(run, step, upstream, pulse)
        handler = spec.function or load_handler(spec.handler)
        output = await handled(handler, context, data)
        _check(step, output)
        until = None if key is None else self._clock.now() + int((step.spec.cache_ttl or 0) * SECOND)
        keep = None if key is None or until is None or replays else (key, until)
        return Done(output, {**record, "output": hash_of(output)}, keep)

    def _spec(self, step: StepRow) -> TaskTypeSpec:
        spec = self._task_types.get(step.task_type)
        if spec is None:
            raise StepFailed(
                f"this worker knows no task type {step.task_type!r}", mend="install the package that brings it"
            )
        return spec

    def _input(self, tx: EngineTx, run: RunRow, step: StepRow) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        spec = self._spec(step)
        if run.kind == "task":
            return run.input, {}
        before = tx.steps_before(run.run_id, step.spec.step_id)
        source = source_of(run, before)
        item = Item(step.item, step.item_index or 0) if step.role == "item" else None
        data = resolve(step.spec.input_mapping, run.input, source.steps, item)
        for name in spec.required:
            if data.get(name) is None:
                raise ValidationFailed(f"the input {name!r} of step {step.step_id!r} is missing", param=name)
        return data, {one.step_id: one.output or {} for one in before if one.state == "completed"}

    def _key(
        self, run: RunRow, step: StepRow, spec: TaskTypeSpec, data: dict[str, Any], upstream: Mapping[str, Any]
    ) -> str | None:
        """What makes two steps equal: what they do, by which model of which version, with what, for whom."""
        if step.spec.cache_ttl is None:
            return None
        config = step.spec.llm_config or {}
        version = None
        if spec.model_kind == "ml":
            name = config.get("name") or self._contexts.catalogue().default_model(spec.name)
            if name:
                found = self._contexts.registry.resolve(str(name), config.get("version"), config.get("alias"))
                version = found.version
        catalogue, versions = self._contexts.catalogue().epoch, self._versions_of(spec)
        return hash_of(spec.name, spec.handler, config, version, catalogue, data, upstream, run.caller.tenant, versions)

    def _versions_of(self, spec: TaskTypeSpec) -> dict[str, str]:
        """What decides the numbers of such a step: Python, the libraries, and the package that brings its function."""
        return self._versions if spec.package is None else {**self._versions, spec.package[0]: spec.package[1]}

    def _kept(self, key: str) -> tuple[str, dict[str, Any]] | None:
        with self._store.read() as tx:
            return tx.kept_result(key, self._clock.now())


def _check(step: StepRow, output: Any) -> None:
    """``StepFailed`` for an output that cannot be kept."""
    if not isinstance(output, dict):
        raise StepFailed(f"the handler of {step.task_type} returned no object")
    try:
        encoded = msgspec.json.encode(output)
    except (TypeError, ValueError, RecursionError) as error:
        raise StepFailed(f"the output of {step.task_type} is not JSON: {str(error)[:200]}") from None
    # JSON has no NaN: it would be kept as null, and a figure be gone without a word.
    place = no_number(output) if b"null" in encoded else None
    if place is not None:
        raise no_figure(step.task_type, place)
    size = len(encoded)
    if size > LARGEST_OUTPUT:
        raise StepFailed(
            f"the output has {size} bytes, {LARGEST_OUTPUT} are kept", mend="store large values as artifacts"
        )


def _versions() -> dict[str, str]:
    found = {"ai-gateway": gateway.__version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # built without it
            continue
    return found
