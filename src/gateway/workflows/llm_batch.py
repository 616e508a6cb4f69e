"""``llm_batch``: the requests of a batch, each under a cause of its own: by the batch API of its provider, or on
the path of any call.

What a line gave is kept as soon as it is there. A worker that takes over from a dead one does the lines
that have nothing yet; one that the ledger shows as charged is not sent again, but told as lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from gateway.engine.waiting import StepWaits
from gateway.errors import Conflict, GatewayError, NotFound, StepFailed
from gateway.ids import new_id
from gateway.models.call import CallContext
from gateway.serving.batch_offers import problem_of
from gateway.store.batch_store import ENDED, KeptBatch
from gateway.workflows.batch_handling import ProviderLines
from gateway.workflows.batch_input import Line, check, raw_lines, read_line
from gateway.workflows.batch_tools import BatchTools
from gateway.workflows.context import StepContext

#: Lines on their way at once, in one batch.
_AT_ONCE = 8
#: How often a batch asks whether it is still wanted, in seconds.
_LOOK_SECONDS = 1.0
#: Errors that time mends and that cost nothing: a line waits them out, so many times.
_PASSING = frozenset({"rate_limited", "upstream_rate_limited", "upstream_overloaded", "unavailable", "model_not_ready"})
_MOST_WAITS = 12
_LONGEST_WAIT = 60.0
_ENCODER = msgspec.json.Encoder(decimal_format="number")
#: Codes of requests that a provider's batch ended without.
_UNDONE = frozenset({"batch_expired", "batch_cancelled", "no_result"})
_STOPPED = {
    "expired": ("batch_expired", "the completion window ended before this request was done"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was done"),
}


async def run(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """Works the batch to its end, whatever that is; the result has its counts and files."""
    tools = context.batch
    if tools is None:
        raise StepFailed("this process works no batches")
    batch = await asyncio.to_thread(tools.batches.find, str(data["batch_id"]))
    if batch is None or batch.task_id != context.task_id:
        raise NotFound("no batch waits for this task", mend="make one by POST /v1/batches", param="batch_id")
    resumed = batch.status != "validating"
    if not resumed:
        await _validate(tools, batch)
        batch = await _again(tools, batch)
    if batch.status == "cancelling" and not batch.total:  # before its lines were read
        await asyncio.to_thread(tools.batches.finish, batch.batch_id, "cancelled")
        batch = await _again(tools, batch)
    if batch.status not in ENDED:
        await _Work(context, tools, batch, resumed=resumed).done()
        batch = await _again(tools, batch)
    return {
        "batch_id": batch.batch_id,
        "batch_status": batch.status,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
    }


async def _again(tools: BatchTools, batch: KeptBatch) -> KeptBatch:
    found = await asyncio.to_thread(tools.batches.find, batch.batch_id)
    return batch if found is None else found


async def _validate(tools: BatchTools, batch: KeptBatch) -> None:
    checked = await check(tools.files, batch.input_file_id, batch.endpoint)
    if checked.errors:
        await asyncio.to_thread(tools.batches.fail, batch.batch_id, checked.errors)
    else:
        await asyncio.to_thread(tools.batches.move, batch.batch_id, "in_progress", total=checked.total)


class _Work:
    """The lines of one batch, several at once."""

    def __init__(self, context: StepContext, tools: BatchTools, batch: KeptBatch, *, resumed: bool) -> None:
        self._context = context
        self._tools = tools
        self._batch = batch
        self._resumed = resumed
        self._done = 0
        self._stop = asyncio.Event()
        self._end = "completed"
        self._provider = ProviderLines(context, tools, batch)

    async def done(self) -> None:
        """Returns when every line has its result and the files are written. ``StepWaits`` where the rest of
        them is with a provider."""
        batches, name = self._tools.batches, self._batch.batch_id
        have = await asyncio.to_thread(batches.done_lines, name)
        self._done = len(have)
        await self._look()
        if not self._provider.offered:
            handed = await self._provider.handed_over()
            await self._do(lambda number: number not in have and number not in handed, self._begun)
            if not self._stop.is_set():
                await self._provider.seal()
        await self._await_provider()
        handed = await self._provider.handed_over() - await asyncio.to_thread(batches.done_lines, name)
        if handed:
            await self._do(handed.__contains__, self._answered, stopped=True)
        if self._end == "completed" and not await asyncio.to_thread(batches.move, name, "finalizing"):
            self._end = "cancelled"  # it was called off when the last line was done
        if self._end != "completed":
            await self._tell_left(await asyncio.to_thread(batches.done_lines, name))
        await self._provider.note(ended=True)
        await asyncio.to_thread(batches.finish, name, self._end)

    async def _await_provider(self) -> None:
        """Returns when no line is with a provider any more; ``StepWaits`` before."""
        if self._stop.is_set():
            await self._provider.call_off()
        totals = await self._provider.totals()
        if totals.open:
            done = self._done + totals.requests - totals.open
            note = f"{totals.open} of {self._batch.total} requests are with their provider's batch API"
            self._context.progress(done / max(self._batch.total, 1), note)
            raise StepWaits(self._tools.every)

    async def _do(
        self, which: Callable[[int], bool], work: Callable[[Line], Coroutine[Any, Any, None]], *, stopped: bool = False
    ) -> None:
        """Works on those lines, several at once, until they are done or (unless that is all the same to them)
        the batch is called off."""
        watch = asyncio.create_task(self._watch())
        running: set[asyncio.Task[None]] = set()
        try:
            async for number, raw in raw_lines(self._tools.files, self._batch.input_file_id):
                if not which(number):
                    continue
                if self._stop.is_set() and not stopped:
                    break
                line = read_line(number, raw, self._batch.endpoint)
                running.add(asyncio.create_task(work(line)))
                if len(running) >= _AT_ONCE:
                    ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        task.result()
            await asyncio.gather(*running)
        finally:
            watch.cancel()
            for task in running:
                task.cancel()
            await asyncio.gather(watch, *running, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        """Whether the batch is still wanted, and in time."""
        found = await _again(self._tools, self._batch)
        if found.status == "cancelling":
            self._end = "cancelled"
        elif await asyncio.to_thread(self._tools.batches.is_over, self._batch):
            self._end = "expired"
        if self._end != "completed":
            self._stop.set()

    async def _begun(self, line: Line) -> None:
        """A line on its way: to its provider's batch API, or to its answer."""
        call = self._call(line)
        try:
            await self._refuse_charged(call)
            reason = await self._provider.offer(line, call)
        except GatewayError as error:
            if error.code in _PASSING:
                raise  # nothing is wrong with the line: the whole attempt is made again
            await self._keep(line, call, error)
            return
        if reason is not None:
            await self._line(line, call, reason)

    async def _answered(self, line: Line) -> None:
        """What a provider's batch API made of the line; one that it refused takes the usual path."""
        ask = await asyncio.to_thread(self._tools.asks.ask, self._batch.batch_id, line.number)
        if ask is None:
            return
        call = msgspec.structs.replace(self._call(line), request_id=ask.terms.charge.request_id)
        if ask.answer is not None:
            try:
                await self._keep(line, call, await self._provider.answer(ask, line))
            except GatewayError as error:
                if error.code in _PASSING:
                    raise
                await self._keep(line, call, error)
            return
        told = ask.error or {}
        if told.get("code") == "refused" and self._provider.wish != "provider":
            if not self._stop.is_set():
                await self._line(line, call, "refused")
        elif self._end == "completed" or told.get("code") not in _UNDONE:
            await self._keep(line, call, problem_of(ask.provider, told))

    async def _line(self, line: Line, call: CallContext, reason: str) -> None:
        """The line as any other call."""
        call = msgspec.structs.replace(call, notes=self._provider.takes_usual_path(reason))
        try:
            await self._refuse_charged(call)
            await self._keep(line, call, await self._answer(line, call))
        except GatewayError as error:
            if error.code in _PASSING and self._stop.is_set():
                return  # told with the others that were stopped
            await self._keep(line, call, error)

    def _call(self, line: Line) -> CallContext:
        return CallContext(
            request_id=new_id("req"),
            cause=f"{self._batch.batch_id}:{line.number}",
            door="batch",
            run_id=self._context.run_id,
            task_id=self._context.task_id,
            workflow_id=self._context.workflow_id,
            tags=self._context.tags,
            within=self._context.within,
        )

    async def _refuse_charged(self, call: CallContext) -> None:
        if self._resumed and await asyncio.to_thread(self._tools.batches.charged, call.cause):
            raise Conflict(
                "this request was charged, and its answer is lost: its worker died",
                mend="look at GET /usage/entries; to ask again, send it in another batch",
            )

    async def _keep(self, line: Line, call: CallContext, found: dict[str, Any] | GatewayError) -> None:
        """The line's answer, or its error, for the batch's files."""
        if isinstance(found, GatewayError):
            refused = self._tools.lines.refusal(found, call.request_id)
            result = (line.number, True, _told(line, call.request_id, found.status, refused))
        else:
            result = (line.number, False, _told(line, call.request_id, 200, found))
        await asyncio.to_thread(self._tools.batches.add_lines, self._batch.batch_id, [result])
        self._done += 1
        self._context.progress(self._done / max(self._batch.total, 1), f"{self._done} of {self._batch.total} requests")

    async def _answer(self, line: Line, call: CallContext) -> dict[str, Any]:
        """The door's answer; what only time mends is waited out."""
        waits = 0
        while True:
            try:
                return await self._tools.lines.answer(self._context.caller, self._batch.endpoint, line.body, call)
            except GatewayError as error:
                waits += 1
                if error.code not in _PASSING or waits > _MOST_WAITS or self._stop.is_set():
                    raise
                if await asyncio.to_thread(self._tools.batches.charged, call.cause):
                    raise
                pause = max(error.retry_after or 0.0, min(2.0 ** (waits - 1), _LONGEST_WAIT))
            try:
                await asyncio.wait_for(self._stop.wait(), pause)
            except TimeoutError:
                continue  # nobody stopped the batch in the meantime

    async def _tell_left(self, have: set[int]) -> None:
        """An error line for each request that was never done."""
        code, message = _STOPPED[self._end]
        left: list[tuple[int, bool, str]] = []
        async for number, raw in raw_lines(self._tools.files, self._batch.input_file_id):
            if number in have:
                continue
            line = read_line(number, raw, self._batch.endpoint)
            told = {
                "id": new_id("batch_req"),
                "custom_id": line.custom_id,
                "response": None,
                "error": {"code": code, "message": message},
            }
            left.append((number, True, _ENCODER.encode(told).decode()))
            if len(left) >= 500:
                await asyncio.to_thread(self._tools.batches.add_lines, self._batch.batch_id, left)
                left = []
        await asyncio.to_thread(self._tools.batches.add_lines, self._batch.batch_id, left)


def _told(line: Line, request_id: str, status: int, body: dict[str, Any]) -> str:
    """A line of the output or the error file."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    told = {"id": new_id("batch_req"), "custom_id": line.custom_id, "response": response, "error": None}
    return _ENCODER.encode(told).decode()
