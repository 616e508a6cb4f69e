"""Guards on the way of a call: what a request may say, what an answer may, and what is put back into it.

``GuardRails`` keeps a ready chain for each model; ``Guarded`` is what one call carries along. Values that
were taken out of a request live in it, for as long as the call does, and nowhere else: what is sent,
kept, logged and recorded holds placeholders.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec

from gateway.errors import GuardBlocked, NotSupported, ValidationFailed
from gateway.governance.guard_chain import Chain, Verdict, blocked, verdict
from gateway.governance.placeholders import Restorer, Restoring, Vault
from gateway.governance.stream_checks import StreamChecks, can_stream, rewrites
from gateway.models.embedding_models import EmbedRequest
from gateway.models.guard import Asked, GuardSpec, GuardText
from gateway.models.llm_models import (
    Chat,
    Choice,
    Delta,
    Native,
    Part,
    Reply,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    ToolUsePart,
)
from gateway.models.server_fields import parts_of
from gateway.registry.catalogue import ModelSpec
from gateway.serving.delta_flow import Channel, DeltaFlow
from gateway.serving.native_texts import NativeFlow, restored_value

Result = TypeVar("Result")
#: Characters of a request from which on it is read in a thread, so that other calls go on meanwhile.
_LARGE = 64_000


class Guarded:
    """The guards of one call, and what they took out of its request."""

    def __init__(self, chain: Chain, vault: Vault, verdicts: list[Verdict]) -> None:
        values = vault.values()
        self._chain = chain
        self._verdicts = verdicts
        self._restorer = Restorer(values) if values else None
        #: What the last answer has against its schema, in words for the model.
        self.misfits: list[str] = []

    def answered_whole(self, chat: Chat) -> bool:
        """Whether some guard has to see the whole answer before any of it is told."""
        schema = self._chain.schema
        return (schema is not None and schema.applies(chat)) or not all(map(can_stream, self._chain.outputs))

    def refuse_unreadable(self, chat: Chat) -> None:
        """``NotSupported`` for a streamed answer with parts that only its dialect has: nobody could read them."""
        parts = parts_of(chat.native_only)
        if parts and (self.answered_whole(chat) or rewrites(self._chain.outputs)):
            raise NotSupported(
                f"the guards of this model read the answer, and cannot read {', '.join(parts)} in a stream",
                mend="leave it out, or ask without stream",
                param=parts[0],
            )

    def checked(self, chat: Chat, reply: Reply) -> tuple[Reply, GuardBlocked | None]:
        """The answer as it may go on, or why it may not; ``misfits`` says whether it fits its schema."""
        try:
            reply = self._chain.read_reply(reply, self._verdicts)
        except GuardBlocked as refusal:
            return reply, refusal
        schema = self._chain.schema
        self.misfits = [] if schema is None or not schema.applies(chat) else schema.misfits(chat, reply)
        return reply, None

    @property
    def may_repair(self) -> bool:
        """Whether an answer that does not fit is asked for once more."""
        return self._chain.schema is not None and self._chain.schema.repair

    def misfit(self, *, repaired: str) -> GuardBlocked | None:
        """Notes the verdict on an answer that does not fit after all; the refusal where the guard blocks."""
        spec = self._chain.schema_spec
        if spec is None:
            return None
        self._verdicts.append({**verdict(spec, "output", {"schema": 1}, ["choices"]), "repair": repaired})
        if spec.action != "block":
            return None
        return blocked(
            spec, "output", ["schema"], ["choices"], mend="ask again, or with a larger model or a simpler schema"
        )

    def note_repair(self, outcome: str) -> None:
        """Notes that an answer did not fit and is asked for once more, and how that went."""
        spec = self._chain.schema_spec
        if spec is not None:
            line = {**verdict(spec, "output", {"schema": 1}, ["choices"]), "done": "repaired", "repair": outcome}
            self._verdicts.append(line)

    async def checked_pieces(self, pieces: AsyncIterator[Delta]) -> AsyncIterator[Delta]:
        """A streamed answer as it may go on; raises ``GuardBlocked`` before what may not."""
        checks, changing = StreamChecks(self._chain.outputs, self._verdicts), rewrites(self._chain.outputs)
        flow = DeltaFlow(lambda channel, piece, last: checks.push(channel, piece, last=last))
        async with hanging_up(pieces):
            async for piece in pieces:
                for told in flow.feed(msgspec.structs.replace(piece, native=None) if changing else piece):
                    yield told
            for told in flow.end():
                yield told

    def restored(self, reply: Reply) -> Reply:
        """The answer with the caller's own values in the place of their placeholders."""
        restorer = self._restorer
        if restorer is None:
            return reply
        native = reply.native
        if native is not None and native.event is not None:
            native = Native(native.dialect, restored_value(native.event, restorer))
        choices = tuple(_restored_choice(choice, restorer) for choice in reply.choices)
        return msgspec.structs.replace(reply, choices=choices, native=native)

    @property
    def checks_pieces(self) -> bool:
        """Whether a streamed answer is to go through ``checked_pieces``."""
        return bool(self._chain.outputs)

    @property
    def restore(self) -> Callable[[AsyncIterator[Delta]], AsyncIterator[Delta]] | None:
        """``restored`` for a streamed answer; ``None`` where there is nothing to put back."""
        return None if self._restorer is None else self._restored_pieces

    async def _restored_pieces(self, pieces: AsyncIterator[Delta]) -> AsyncIterator[Delta]:
        restorer = self._restorer
        if restorer is None:
            raise RuntimeError("there is nothing to put back")
        channels: dict[Channel, Restoring] = {}

        def push(channel: Channel, piece: str, last: bool) -> str:
            restoring = channels.get(channel)
            if restoring is None:
                restoring = channels[channel] = restorer.channel(escaped=channel.kind == "arguments")
            if last:
                del channels[channel]
            return restoring.push(piece, last=last)

        flow, native = DeltaFlow(push), None
        async with hanging_up(pieces):
            async for piece in pieces:
                fed = flow.feed(piece)
                if piece.stop_sequence:
                    fed[-1] = msgspec.structs.replace(fed[-1], stop_sequence=restorer.whole(piece.stop_sequence))
                if piece.native is not None:
                    native = native or NativeFlow(piece.native.dialect, restorer)
                    fed = _with_events(fed, piece.native, native)
                for told in fed:
                    yield told
            for told in flow.end():
                yield told


class GuardRails:
    """The chains of models, made once for each. Belongs to one event loop."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[tuple[GuardSpec, ...], Chain]] = {}

    async def guard(self, spec: ModelSpec, chat: Chat, notes: dict[str, Any]) -> tuple[Chat, Guarded]:
        """The chat as it may go on, and the guards of the rest of the call. Raises ``GuardBlocked``; the
        verdicts go into the ``notes``."""
        chain, verdicts = self._chain(spec), _verdicts(notes)
        if chain.schema is not None:
            chain.schema.check(chat)
        ready, vault = await _aside(_size(chat), lambda: chain.read_chat(chat, verdicts))
        return ready, Guarded(chain, vault, verdicts)

    async def guard_inputs(self, spec: ModelSpec, request: EmbedRequest, notes: dict[str, Any]) -> EmbedRequest:
        """The texts to embed as they may go on."""
        chain = self._chain(spec)
        if not chain.inputs:
            return request
        for at, item in enumerate(request.inputs):
            if not isinstance(item, str):
                raise ValidationFailed(
                    "the guards of this model cannot read token ids", mend="send texts", param=f"input[{at}]"
                )
        texts = [item for item in request.inputs if isinstance(item, str)]
        asked = Asked(
            [
                *(GuardText(f"input[{at}]", "user", text) for at, text in enumerate(texts)),
                GuardText("user", "other", request.user),
            ]
        )
        vault = Vault(texts)
        read = lambda: chain.read_texts(asked, [False] * len(asked.texts), vault, _verdicts(notes))  # noqa: E731
        fresh = await _aside(sum(map(len, texts)), read)
        return msgspec.structs.replace(request, inputs=tuple(fresh[:-1]), user=fresh[-1])

    def _chain(self, spec: ModelSpec) -> Chain:
        kept = self._made.get(spec.name)
        if kept is None or kept[0] is not spec.guards:
            kept = self._made[spec.name] = (spec.guards, Chain(spec.guards))
        return kept[1]


def guards_line(notes: dict[str, Any]) -> str:
    """The verdicts for the answer's header: ``pii=redacted(3),injection=flag``."""
    told: dict[str, dict[str, int]] = {}
    for item in notes.get("guards", ()):
        done = told.setdefault(item["guard"], {})
        done[item["done"]] = done.get(item["done"], 0) + item["count"]
    return ",".join(
        f"{name}=flag" if word == "flagged" else f"{name}={word}({count})"
        for name, done in told.items()
        for word, count in done.items()
    )


@contextlib.asynccontextmanager
async def hanging_up(pieces: AsyncIterator[Delta]) -> AsyncIterator[None]:
    """However the reading ends, the source is closed."""
    try:
        yield
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _with_events(told: list[Delta], carried: Native, flow: NativeFlow) -> list[Delta]:
    """The pieces, of which only the events are written out in the provider's own dialect."""
    covered = Native(carried.dialect, None)
    quiet = [msgspec.structs.replace(piece, native=covered) for piece in told]
    if carried.event is None:
        return quiet
    *before, last = (Native(carried.dialect, event) for event in flow.feed(carried.event))
    quiet[0] = msgspec.structs.replace(quiet[0], native=last)
    return [*(Delta(native=event) for event in before), *quiet]


def _restored_choice(choice: Choice, restorer: Restorer) -> Choice:
    parts: list[Part] = []
    for part in choice.parts:
        if isinstance(part, (TextPart, ThinkingPart)):
            parts.append(msgspec.structs.replace(part, text=restorer.whole(part.text)))
        elif isinstance(part, ToolUsePart):
            parts.append(msgspec.structs.replace(part, arguments=restorer.whole(part.arguments, escaped=True)))
        else:
            parts.append(part)
    return msgspec.structs.replace(choice, parts=tuple(parts), stop_sequence=restorer.whole(choice.stop_sequence))


def _verdicts(notes: dict[str, Any]) -> list[Verdict]:
    verdicts: list[Verdict] = notes.setdefault("guards", [])
    return verdicts


def _size(chat: Chat) -> int:
    size = 0
    for turn in chat.messages:
        for part in turn.parts:
            if isinstance(part, (TextPart, ThinkingPart)):
                size += len(part.text)
            elif isinstance(part, ToolResultPart):
                size += len(part.content)
    return size


async def _aside(size: int, work: Callable[[], Result]) -> Result:
    return await asyncio.to_thread(work) if size > _LARGE else work()
