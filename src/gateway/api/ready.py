"""Tells whether an iterator has its next value ready, so that what is there can be sent at once.

``async for`` cannot say whether it will wait. Here each step is begun by hand: where it ends without
waiting nothing is sent yet; where it waits, what has gathered is sent first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

Item = TypeVar("Item")


async def before_waiting(
    items: AsyncIterator[Item], act: Callable[[Item], None], pause: Callable[[], Awaitable[None]]
) -> None:
    """``act`` on every item, and ``pause`` whenever the next one is not there yet."""
    while True:
        step = Step(cast(Coroutine[Any, Any, Item], items.__anext__()))
        if not step.begin():
            try:
                await pause()
            except BaseException as error:  # noqa: BLE001 - the iterator is told, as if it had waited itself
                step.fail(error)
        try:
            item = await step
        except StopAsyncIteration:
            return
        act(item)


class Step(Generic[Item]):
    """One coroutine: ``begin`` runs it to its end or to where it waits; awaiting it does the rest."""

    __slots__ = ("_coroutine", "_done", "_error", "_result", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Item]) -> None:
        self._coroutine = coroutine
        self._waits_for: Any = None
        self._error: BaseException | None = None
        self._result: Item
        self._done = False

    def begin(self) -> bool:
        """Whether it ended without waiting."""
        try:
            self._waits_for = self._coroutine.send(None)
        except StopIteration as end:
            self._result, self._done = end.value, True
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            self._error, self._done = error, True
        return self._done

    def fail(self, error: BaseException) -> None:
        """It goes on with this error instead of what it waits for."""
        self._error = error

    def __await__(self) -> Generator[Any, Any, Item]:
        if self._done and self._error is not None:
            raise self._error
        while not self._done:
            error, self._error = self._error, None
            sent = None
            if error is None:
                try:
                    sent = yield self._waits_for
                except BaseException as thrown:  # noqa: BLE001 - handed in, as ``await`` does
                    error = thrown
            try:
                self._waits_for = self._coroutine.send(sent) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                self._result, self._done = end.value, True
        return self._result
