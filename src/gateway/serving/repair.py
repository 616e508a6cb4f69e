"""An answer that does not fit its schema is asked for once more, with what was wrong: a call of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.errors import GatewayError
from gateway.governance.schema_guard import repair_chat
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
    """The second answer, with the cost and the time of both."""
    meta = msgspec.structs.replace(
        second.meta,
        cost=first.meta.cost + second.meta.cost,
        attempts=first.meta.attempts + second.meta.attempts,
        latency_micros=first.meta.latency_micros + second.meta.latency_micros,
        flags=tuple(dict.fromkeys((*first.meta.flags, *second.meta.flags))),
    )
    return ChatAnswer(second.reply, meta)


def _told(order: Order, answer: ChatAnswer) -> ChatAnswer:
    return ChatAnswer(answer.reply, msgspec.structs.replace(answer.meta, guards=guards_line(order.notes)))
