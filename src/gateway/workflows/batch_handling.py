"""The lines of a batch that go by the batch API of their model's provider, and the record of which went where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from gateway.ledger.entry import UsageFilter
from gateway.models.call import CallContext
from gateway.money import usd
from gateway.serving.batch_offers import REASONS, refusal
from gateway.store.batch_store import KeptBatch
from gateway.store.provider_batch_store import CAUSE, Ask, Totals
from gateway.workflows.batch_input import Line
from gateway.workflows.batch_tools import BatchTools
from gateway.workflows.context import StepContext

#: The metadata by which a batch says which way its lines are to go: ``auto``, ``provider`` or ``inline``.
WISH = "gateway_batch"
_PAGE = 200


class ProviderLines:
    """One batch's lines at providers. ``offered`` is true once every line was looked at."""

    def __init__(self, context: StepContext, tools: BatchTools, batch: KeptBatch) -> None:
        self._context = context
        self._tools = tools
        self._batch = batch
        self.wish = str(batch.handling.get("wish", "auto"))
        self.offered = bool(batch.handling.get("offered"))
        self._inline: dict[str, int] = dict(batch.handling.get("inline", {}))

    async def handed_over(self) -> set[int]:
        """Lines that need not be offered again."""
        return await asyncio.to_thread(self._tools.asks.lines, self._batch.batch_id)

    async def offer(self, line: Line, call: CallContext) -> str | None:
        """``None`` for a line that goes by its provider's batch API; else why it takes the usual path. Raises
        what refuses it either way, and where the batch insists on a way that is closed."""
        reason = await self._offer(line, call)
        if reason is not None and self.wish == "provider":
            raise refusal(reason, f"metadata.{WISH}")
        return reason

    async def _offer(self, line: Line, call: CallContext) -> str | None:
        if self.wish == "inline":
            return "asked"
        chat = self._tools.lines.chat(self._batch.endpoint, line.body)
        if chat is None:
            return "endpoint"
        name = self._batch.batch_id
        # A cause of its own: if the provider refuses the batch, the line is charged as any other call.
        call = msgspec.structs.replace(call, cause=call.cause + CAUSE)
        return await self._tools.offers.offer(
            self._context.caller, chat, call, owner=name, line=line.number, gathering=name
        )

    def takes_usual_path(self, reason: str) -> dict[str, Any]:
        """Counts the line; the notes of its call."""
        self._inline[reason] = self._inline.get(reason, 0) + 1
        return {"batch": {"way": "inline", "why": reason}}

    async def seal(self) -> None:
        """Every line was offered: what goes by providers may go now."""
        await asyncio.to_thread(self._tools.asks.seal, self._batch.batch_id)
        self.offered = True
        await self.note()

    async def call_off(self) -> None:
        """No line is wanted any more."""
        await asyncio.to_thread(self._tools.asks.unwant, self._batch.batch_id)

    async def totals(self) -> Totals:
        return await asyncio.to_thread(self._tools.asks.totals, self._batch.batch_id)

    async def done(self) -> AsyncIterator[Ask]:
        """The lines whose provider has said what became of them."""
        last = 0
        while page := await asyncio.to_thread(self._tools.asks.done, self._batch.batch_id, last, _PAGE):
            for ask in page:
                yield ask
            last = page[-1].line

    async def answer(self, ask: Ask, line: Line) -> dict[str, Any]:
        """A provider's answer as the door writes it."""
        reply = self._tools.offers.reply(ask)
        return await self._tools.lines.told(self._context.caller, self._batch.endpoint, line.body, reply)

    async def note(self, *, ended: bool = False) -> None:
        """Keeps which way the lines went; at the ``end`` with what they cost."""
        name = self._batch.batch_id
        totals = await self.totals()
        parts = await asyncio.to_thread(self._tools.asks.parts, name)
        told = {
            "inline": {reason: {"requests": count, "why": REASONS[reason]} for reason, count in self._inline.items()},
            "provider": {
                "requests": totals.requests,
                "cost_usd": usd(totals.cost),
                "full_price_usd": usd(totals.full_cost),
                "saved_usd": usd(totals.full_cost - totals.cost),
                "batches": [
                    {
                        "provider": part.provider,
                        "id": part.upstream_id,
                        "model": part.model,
                        "requests": part.requests,
                        "status": part.upstream_status or part.state,
                        "problem": part.problem or None,
                    }
                    for part in parts
                ],
            },
        }
        handling = {"wish": self.wish, "offered": self.offered, "inline": self._inline, "told": told}
        if ended:
            handling["usage"] = await asyncio.to_thread(self._usage)
        await asyncio.to_thread(self._tools.batches.note, name, handling)

    def _usage(self) -> dict[str, Any]:
        """The tokens of all lines, as OpenAI writes them."""
        (row,) = self._tools.ledger.summary(UsageFilter(task_id=self._context.task_id))
        return {
            "input_tokens": row.input_tokens,
            "input_tokens_details": {"cached_tokens": row.cached_tokens},
            "output_tokens": row.output_tokens,
            "output_tokens_details": {"reasoning_tokens": row.reasoning_tokens},
            "total_tokens": row.input_tokens + row.output_tokens,
        }
