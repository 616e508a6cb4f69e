"""A task type as a function: Pydantic models say what it takes and gives, and the rest follows from them.

    @task_type("portfolio_weights")
    def weigh(ctx: StepContext, data: Holdings) -> Weights:
        ...

The name of the function's module and its own go into the entry point group ``gateway.task_types``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from pydantic import BaseModel, ValidationError

from gateway.engine.task_types import QUEUES, TaskTypeSpec
from gateway.errors import ConfigurationInvalid, StepFailed, ValidationFailed
from gateway.models.finite import no_number
from gateway.workflows.context import HandlerLeft, StepContext, no_figure

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)
_MOST_PROBLEMS = 5


@dataclass(frozen=True)
class TaskType(Generic[In, Out]):
    """A function with a typed input and output, and what the engine knows of it. Calling it calls the
    function, so that it can be tested as the plain function it is."""

    spec: TaskTypeSpec
    function: Callable[[StepContext, In], Out | Awaitable[Out]]
    input: type[In]
    output: type[Out]

    def __call__(self, context: StepContext, data: In) -> Out | Awaitable[Out]:
        return self.function(context, data)


def task_type(
    name: str,
    *,
    queue: str = "cpu",
    summary: str = "",
    model_kind: str | None = None,
    permission: str = "tasks:write",
) -> Callable[[Callable[[StepContext, In], Out | Awaitable[Out]]], TaskType[In, Out]]:
    """Makes a function ``(ctx, data: Input) -> Output`` a task type of that name.

    A plain function runs in a thread, an ``async`` one on the worker's loop. ``queue`` is ``cpu`` (it
    computes), ``llm`` (it waits for a language model) or ``ml``; ``model_kind`` ``llm`` or ``ml`` lets steps
    name a model in ``model_config``. ``summary`` is the first line of the docstring unless it is given.
    Raises ``ConfigurationInvalid`` where the function does not say what it takes and gives.
    """

    def make(function: Callable[[StepContext, In], Out | Awaitable[Out]]) -> TaskType[In, Out]:
        if queue not in QUEUES:
            raise ConfigurationInvalid(f"task type {name!r}: queue is one of {', '.join(QUEUES)}")
        taken: type[In]
        given: type[Out]
        taken, given = _models_of(name, function)

        def check(data: dict[str, Any]) -> None:
            _read(taken, data)

        doc = (inspect.getdoc(function) or name).splitlines()[0]
        spec = TaskTypeSpec(
            name=name,
            summary=summary or doc,
            queue=queue,
            handler=f"{function.__module__}:{function.__qualname__}",
            inputs=tuple(field.alias or key for key, field in taken.model_fields.items()),
            required=tuple(field.alias or key for key, field in taken.model_fields.items() if field.is_required()),
            outputs=tuple(field.serialization_alias or key for key, field in given.model_fields.items()),
            model_kind=model_kind,
            permission=permission,
            function=_handler(name, function, taken, given),
            check=check,
            input_schema=taken.model_json_schema(),
            output_schema=given.model_json_schema(mode="serialization"),
        )
        return TaskType(spec, function, taken, given)

    return make


def _models_of(name: str, function: Callable[..., Any]) -> tuple[Any, Any]:
    """The models of the second parameter and of what is returned."""
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise ConfigurationInvalid(
            f"task type {name!r}: {error}", mend="define its models at the top of the module"
        ) from None
    parameters = list(inspect.signature(function).parameters)
    found = (hints.get(parameters[1]) if len(parameters) == 2 else None, hints.get("return"))
    for model in found:
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            raise ConfigurationInvalid(
                f"task type {name!r}: the function does not say what it takes and gives",
                mend="write it as (ctx: StepContext, data: Input) -> Output, with Pydantic models",
            )
    return found


def _handler(
    name: str, function: Callable[[StepContext, In], Any], taken: type[In], given: type[Out]
) -> Callable[[StepContext, dict[str, Any]], Awaitable[dict[str, Any]]]:
    """The function as the engine calls handlers: JSON in, JSON out, both checked."""
    waits = inspect.iscoroutinefunction(function)

    def plain(context: StepContext, asked: In) -> Any:
        try:
            return function(context, asked)
        except StopIteration as left:  # a future holds none: who waits for this thread would wait for ever
            raise HandlerLeft from left

    async def handle(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
        asked = _read(taken, data)
        gave = await function(context, asked) if waits else await asyncio.to_thread(plain, context, asked)
        try:
            checked = given.model_validate(gave)
        except ValidationError as error:
            raise StepFailed(
                f"{name} did not give what it promises: {_told(error, '')}", mend="mend the task type"
            ) from None
        try:
            dumped = checked.model_dump(mode="json", by_alias=True)
            # Pydantic writes null for a NaN in a field that says nothing of its type.
            place = no_number(checked.model_dump(by_alias=True)) if b"null" in msgspec.json.encode(dumped) else None
        except (ValueError, RecursionError) as error:  # of which a text that is no UTF-8 is one
            raise StepFailed(
                f"{name} gave what JSON cannot hold: {str(error)[:200]}",
                mend="give numbers, texts, lists and objects; bytes go to ctx.artifacts.put",
            ) from None
        if place is not None:
            raise no_figure(name, place)
        return dumped

    return handle


def _read(model: type[In], data: Mapping[str, Any]) -> In:
    """The input, or ``ValidationFailed`` that names each wrong field and never its value."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValidationFailed(
            _told(error, "input_data."),
            mend="GET /task-types tells what it takes",
            param=_place(first["loc"], "input_data."),
        ) from None


def _told(error: ValidationError, prefix: str) -> str:
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    told = [f"{_place(item['loc'], prefix)}: {item['msg']}" for item in problems[:_MOST_PROBLEMS]]
    more = len(problems) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _place(location: tuple[int | str, ...], prefix: str) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return (prefix + path[:120]).removesuffix(".") or "the result"
