"""A streamed answer: pieces as they come, and an account that is closed however the stream ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from gateway.errors import GatewayError, UpstreamError
from gateway.models.llm_models import Delta, Usage
from gateway.serving.accounts import Account, Accounts
from gateway.serving.answer import AnswerMeta
from gateway.serving.tokens import Said, flagged, untold

#: Takes pieces and whether more may follow, and says whether it wants them now.
Act = Callable[[Sequence[Delta], bool], bool]
Restore = Callable[[AsyncIterator[Delta]], AsyncIterator[Delta]]


class ChatStream:
    """Iterate once. ``meta`` is known from the start but for cost and usage, which ``aclose`` (or the
    end of the iteration) settles: by the provider's count, else by ours or an estimate (``used``, which blocks)."""

    def __init__(
        self,
        pieces: AsyncIterator[Delta],
        begun: Sequence[Delta],
        account: Account,
        accounts: Accounts,
        *,
        price: Callable[[Usage, int], int],
        meta: AnswerMeta,
        started: int,
        used: Callable[[Said, Usage], Usage],
        settled: Callable[[Usage, str], object],
        over: Callable[[], object],
        keep: Callable[[tuple[Delta, ...] | None], None] | None = None,
    ) -> None:
        #: Puts the caller's own values back where guards took them out; what is kept has placeholders.
        self.restore: Restore | None = None
        self._keep = keep
        self._seen_pieces: list[Delta] = []
        self._pieces = pieces
        #: Where pieces can be handed on within the callback that brings them; see ``providers.http_stream``.
        self._pour: Callable[[Act, Sequence[Delta]], Awaitable[bool]] | None = getattr(pieces, "pour", None)
        self._begun = begun
        self._account = account
        self._accounts = accounts
        self._price = price
        self._started = started
        self._used = used
        self._settled = settled
        self._over = over
        self._said: list[str] = []
        self._plain = True
        self._finished = False
        #: Whether a count of the usage was told smaller than before: counts in a stream are cumulative.
        self._sank = False
        self.usage = Usage()
        self.meta = meta

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._told() if self.restore is None else self.restore(self._told())

    async def _told(self) -> AsyncIterator[Delta]:
        outcome = "cancelled"
        try:
            for piece in self._begun:
                yield self._seen(piece)
            async for piece in self._pieces:
                yield self._seen(piece)
            outcome = "completed"
        except GatewayError as error:
            outcome = error.code
            raise
        except Exception as error:
            outcome = "upstream_error"
            raise UpstreamError(f"the stream broke ({type(error).__name__})", reached=True) from error
        finally:
            await self._close(outcome)

    @property
    def pours(self) -> bool:
        """Whether the pieces can be poured out: nobody has to see them on their way one by one."""
        return self.restore is None and self._pour is not None

    async def pour(self, act: Act) -> bool:
        """Hands the pieces to ``act`` as they come: true at the end, false where ``act`` wants no more for now.
        Ends as the iteration does."""
        outcome, over = "cancelled", True

        def seen(pieces: Sequence[Delta], more: bool) -> bool:
            for piece in pieces:
                self._seen(piece)
            # Usage that nobody has told has to be counted, for which no piece waits.
            return act(pieces, more or untold(self.usage))

        try:
            begun, self._begun = self._begun, ()
            over = self._pour is None or await self._pour(seen, begun)
            outcome = "completed"
        except GatewayError as error:
            outcome = error.code
            raise
        except Exception as error:
            outcome = "upstream_error"
            raise UpstreamError(f"the stream broke ({type(error).__name__})", reached=True) from error
        finally:
            if over:
                await self._close(outcome)
        return over

    async def aclose(self) -> None:
        """Hangs up and settles what was used so far; does nothing after the end."""
        await self._close("cancelled")

    def _seen(self, piece: Delta) -> Delta:
        if self._keep is not None:
            self._seen_pieces.append(piece)
        if piece.text:
            self._said.append(piece.text)
        if piece.thinking or piece.tool_index is not None:
            self._said += (piece.thinking, piece.arguments)
            self._plain = False
        if piece.finish is not None:
            self._finished = True
        if piece.usage is not None and piece.usage.basis != "none":  # the last that tells something counts
            self._sank = self._sank or _less(piece.usage, self.usage)
            self.usage = piece.usage
        if piece.model and piece.model != self.meta.upstream_model:
            self.meta = msgspec.structs.replace(self.meta, upstream_model=piece.model)
        return piece

    async def _close(self, outcome: str) -> None:
        if self._account.closed:
            return
        self._account.closed = True
        try:
            await self._end(outcome)
        finally:
            self._over()

    async def _end(self, outcome: str) -> None:
        if self._keep is not None:
            self._keep(tuple(self._seen_pieces) if outcome == "completed" else None)
        if outcome == "completed" and not untold(self.usage):
            self._charge(self.usage, outcome)  # the pieces are at their end: there is nothing to wait for
            return
        closing = asyncio.ensure_future(self._settle(outcome))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing  # the caller is gone; its account is closed all the same
            raise

    async def _settle(self, outcome: str) -> None:
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()
        usage = self.usage
        ended = self._finished or outcome == "completed"
        if not ended or untold(usage):
            # Without an end, what the provider has told so far is not all.
            told = flagged(usage) if ended else usage
            usage = await asyncio.to_thread(self._used, Said("".join(self._said), self._plain), told)
        self._charge(usage, outcome)

    def _charge(self, usage: Usage, outcome: str) -> None:
        micros = (time.perf_counter_ns() - self._started) // 1000
        if self._sank:
            usage = msgspec.structs.replace(usage, odd=(*usage.odd, "usage_sank"))
        settled = self._accounts.settle(
            self._account,
            cost=self._price(usage, micros),
            micros=micros,
            usage=usage,
            outcome=outcome,
            upstream_model=self.meta.upstream_model or None,
        )
        self.usage = usage
        self._settled(usage, outcome)
        self.meta = msgspec.structs.replace(
            self.meta,
            cost=settled.entry.cost,
            entry_id=settled.entry.entry_id,
            latency_micros=micros,
            flags=settled.flags,
        )


def _less(usage: Usage, before: Usage) -> bool:
    return usage.input_tokens < before.input_tokens or usage.output_tokens < before.output_tokens


class KeptStream:
    """A streamed answer from the cache: the same pieces again; its account is closed already."""

    def __init__(self, pieces: tuple[Delta, ...], meta: AnswerMeta) -> None:
        self.restore: Restore | None = None
        self._pieces = pieces
        self.meta = meta
        self.usage = next((piece.usage for piece in reversed(pieces) if piece.usage is not None), Usage())

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._told() if self.restore is None else self.restore(self._told())

    async def _told(self) -> AsyncIterator[Delta]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        """Nothing is open."""
