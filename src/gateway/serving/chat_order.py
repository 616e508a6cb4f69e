"""One chat on its way: the admitted order, an attempt at a deployment, and what an attempt gave."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from gateway.errors import UpstreamMalformed, UpstreamTimeout
from gateway.governance.policy import input_tokens_bound
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Delta, Usage
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.routing.router import Plan
from gateway.security.access import Caller
from gateway.security.limits import LimitState
from gateway.serving.accounts import Account
from gateway.serving.answer import AnswerMeta
from gateway.serving.guarding import Guarded, guards_line
from gateway.serving.worked_out import Deployed, Tariff

Sent = TypeVar("Sent")
_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "seed", "n", "presence_penalty", "frequency_penalty", "reasoning_effort"
)  # fmt: skip


#: Characters of the first turn by which a prompt sticks to a deployment.
_PREFIX = 2_000


class Order(Struct, frozen=True):
    """An admitted call, and the configuration that decides it from first to last.

    ``notes`` is what the stages of its way found out (verdicts, savings, choices): JSON values by the
    name of the stage, written into the record of the call when it ends.
    """

    catalogue: Catalogue
    spec: ModelSpec
    caller: Caller
    chat: Chat
    call: CallContext
    limits: LimitState
    notes: dict[str, Any] = msgspec.field(default_factory=dict)
    #: The guards of the call, where its model has some; ``chat`` is then what they let pass.
    guard: Guarded | None = None
    #: See ``policy.input_tokens_bound``, of ``chat``.
    bound: int = 0
    #: Tokens of an answer of this call that was not good enough, which count against its limits beside the next one's.
    spent: int = 0
    #: See ``Admission.alone``.
    alone: Plan | None = None


class Attempt(Struct, frozen=True):
    """One try at one deployment, ready to be sent: everything is checked and reserved."""

    spec: ModelSpec
    provider: ProviderSpec
    model: Deployed
    chat: Chat
    tariff: Tariff
    account: Account
    dropped: tuple[str, ...]
    started: int
    input_estimate: int
    #: Whether no other deployment could take over.
    last: bool

    @property
    def patience(self) -> float:
        """Seconds that a stream has until its first token."""
        others_wait = not self.last and not self.chat.reasoning_effort
        return self.provider.timeouts.to_first_token(others_wait=others_wait)


def tier_of(chat: Chat, dropped: Sequence[str]) -> str:
    """The service tier that the provider is asked for."""
    asked = chat.extra
    if asked.get("speed") == "fast" and "speed" not in dropped:
        return "fast"
    tier = asked.get("service_tier")
    return tier if isinstance(tier, str) and "service_tier" not in dropped else ""


class Streamed(Struct, frozen=True):
    """A stream that has begun to say something, and the pieces so far."""

    pieces: AsyncIterator[Delta]
    begun: list[Delta]


class Answered(Struct, Generic[Sent], frozen=True):
    """The attempt that was answered, after how many tries, and why it was tried."""

    attempt: Attempt
    sent: Sent
    tries: int
    reason: str


def with_defaults(chat: Chat, spec: ModelSpec) -> Chat:
    """The chat with the model's own parameters where the caller named none."""
    own, most = chat.max_tokens, spec.max_output_tokens
    if not spec.parameters and (own is None or most is None or own <= most):
        return chat
    changes: dict[str, Any] = {
        name: spec.parameters[name]
        for name in _PARAMETERS
        if spec.parameters.get(name) is not None and getattr(chat, name) in (None, "")
    }
    most = changes.get("max_tokens", chat.max_tokens)
    if most is not None and spec.max_output_tokens is not None:
        changes["max_tokens"] = min(most, spec.max_output_tokens)
    return msgspec.structs.replace(chat, **changes) if changes else chat


def estimate(chat: Chat) -> int:
    """About how many tokens the input has: for rate limits and, where a provider tells none, the ledger."""
    return max(1, input_tokens_bound(chat) // 4)


def tokens_saved(order: Order) -> int | None:
    """Tokens of the input that were saved; ``None`` where nobody asked."""
    note = order.notes.get("tokens")
    return None if note is None else int(note["saved"])


def estimated(input_tokens: int, characters: int) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=(characters + 3) // 4, basis="estimated")


def sticky_key(sticky: str, chat: Chat, call: CallContext) -> str:
    """What equal calls have in common: their session, or the beginning of their prompt."""
    if sticky == "session":
        return call.session or str(chat.extra.get("prompt_cache_key") or "") or chat.user
    if sticky == "prefix" and chat.messages:
        system = "".join(message.text() for message in chat.messages if message.role == "system")
        first = next((message.text() for message in chat.messages if message.role != "system"), "")
        return f"{[tool.name for tool in chat.tools]}{system}{first[:_PREFIX]}"
    return ""


def chance(chat: Chat, call: CallContext, *, auto: bool) -> float:
    """A number from 0 to 1 for what a plan leaves to chance. Where the caller asks for determinism, and in
    a choice by ``auto`` for a chat with a ``seed``, it is one of the chat, from the half that explores nothing."""
    fixed = (call.selection is not None and call.selection.deterministic) or (auto and chat.seed is not None)
    if not fixed:
        return random.random()
    said = "\0".join(message.text() for message in chat.messages)
    return 0.5 + int.from_bytes(hashlib.blake2b(said.encode(), digest_size=6).digest(), "big") / 2**49


async def begin(pieces: AsyncIterator[Delta], first_token: float, *, whole: bool) -> Streamed:
    """Reads until a piece says something, or (``whole``) to the end; ``UpstreamTimeout`` without a first token."""
    begun: list[Delta] = []
    task, late = asyncio.current_task(), False

    def stop() -> None:
        nonlocal late
        if task is not None:
            late = task.cancel()

    # What ``asyncio.timeout`` does, for less: this is begun and ended with every stream.
    timer = None if whole else asyncio.get_running_loop().call_later(first_token, stop)
    try:
        async for piece in pieces:
            begun.append(piece)
            if not whole and piece.says():
                return Streamed(pieces, begun)
    except asyncio.CancelledError:
        if not late or task is None or task.uncancel():
            raise
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
        raise UpstreamTimeout("the provider gave no first token in time", reached=True) from None
    finally:
        if timer is not None:
            timer.cancel()
    if not any(piece.says() for piece in begun):
        raise UpstreamMalformed("the provider's stream was empty", reached=True)
    return Streamed(pieces, begun)


def answer_meta(
    order: Order,
    found: Answered[Any],
    upstream_model: str = "",
    cost: int = 0,
    entry_id: str | None = None,
    latency_micros: int = 0,
    flags: tuple[str, ...] = (),
) -> AnswerMeta:
    """The facts of an answer; those after ``found`` are known at its end."""
    attempt = found.attempt
    spec = attempt.spec
    return AnswerMeta(  # in the order of its fields: thus it is made several times as quickly as from names
        order.call.request_id,
        spec.name,
        spec.provider,
        upstream_model or spec.upstream_model or spec.name,
        cost,
        "miss",
        int(time.time()),
        found.tries,
        order.catalogue.epoch,
        attempt.dropped,
        entry_id,
        latency_micros,
        order.limits,
        flags,
        tokens_saved(order) if "tokens" in order.notes else None,
        found.reason,
        guards_line(order.notes) if order.guard is not None else "",
    )
