"""An answer that does not fit its schema is asked for once more, with what was wrong: a call of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.governance.schema_guard import repair_chat
from gateway.ledger.usage_sum import summed
from gateway.models.llm_models import Native
from gateway.serving.answer import ChatAnswer
from gateway.serving.chat_order import Order
from gateway.serving.guarding import guards_line


async def repaired(order: Order, answer: ChatAnswer, once: Callable[[Order], Awaitable[ChatAnswer]]) -> ChatAnswer:
    """The second answer where it fits; else the guard's verdict: its refusal, or the answer with a flag.

    The second call has its own reservation and entry (cause ``…#repair``); both are in the cost that the
    caller is told. Where it fails, the first answer stands.
    """
    guard = order.guard
    if guard is None:
        return answer
    outcome, last = "not tried", answer
    # A cut-off answer would be cut off again, and of several answers none can be told from the others.
    if guard.may_repair and len(answer.reply.choices) == 1 and answer.reply.choices[0].finish == "stop":
        call = msgspec.structs.replace(order.call, cause=f"{order.call.cause}#repair")
        chat = repair_chat(order.chat, answer.reply, guard.misfits)
        again = msgspec.structs.replace(order, chat=chat, call=call, spent=answer.reply.usage.total_tokens)
        guard.note_repair("asked")
        try:
            last = _both(answer, await once(again))
        except GatewayError as error:
            outcome = f"failed: {error.code}"
        else:
            if not guard.misfits:
                return _told(order, last)
            outcome = "does not fit either"
    refusal = guard.misfit(repaired=outcome)
    if refusal is not None:
        raise refusal
    return _told(order, last)


def _both(first: ChatAnswer, second: ChatAnswer) -> ChatAnswer:
    """The second answer, with the cost, the usage and the time of both: the caller paid for both."""
    meta = msgspec.structs.replace(
        second.meta,
        cost=first.meta.cost + second.meta.cost,
        attempts=first.meta.attempts + second.meta.attempts,
        latency_micros=first.meta.latency_micros + second.meta.latency_micros,
        flags=tuple(dict.fromkeys((*first.meta.flags, *second.meta.flags))),
    )
    usage = summed(first.reply.usage, second.reply.usage)
    native = _native(first.reply.native, second.reply.native)
    return ChatAnswer(msgspec.structs.replace(second.reply, usage=usage, native=native), meta)


def _native(first: Native | None, second: Native | None) -> Native | None:
    """The second answer in its provider's words, with the counts of both, which may be more than ours; ``None``
    where they cannot be added."""
    before = None if first is None or first.event is None else first.event.get("usage")
    if first is None or second is None or second.event is None or first.dialect != second.dialect:
        return None
    after = second.event.get("usage")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None
    return Native(second.dialect, {**second.event, "usage": _sum(before, after)})


def _sum(first: Any, second: Any) -> Any:
    """Two usages as a provider writes them: counts are added, anything else is the second's."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {**first, **second, **{name: _sum(first[name], second[name]) for name in first.keys() & second.keys()}}
    return first + second if type(first) is int and type(second) is int else second


def _told(order: Order, answer: ChatAnswer) -> ChatAnswer:
    return ChatAnswer(answer.reply, msgspec.structs.replace(answer.meta, guards=guards_line(order.notes)))
