"""Answers kept for questions that are put otherwise, in this process: off unless asked.

A question finds only answers of its own compartment: the same tenant, configuration, model, dialect,
system prompt, parameters, tools, and the same *form* (``governance.question``), in which every number,
name, negation and comparison stands. Within it, an embedding has the last word. The form comes first
because a cosine cannot tell "Scope 2" from "Scope 3"; it also spares the embedding wherever nothing of
that form is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from gateway.clock import Clock
from gateway.errors import GatewayError, ValidationFailed
from gateway.governance.question import form
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Delta, Message, Native, Reply, TextPart, ThinkingPart
from gateway.models.semantic import SemanticRule
from gateway.security.access import Caller
from gateway.serving.answer_cache import Kept, Ticket, cache_key
from gateway.serving.chat_order import Order

#: Wordings kept in one compartment: the least lately given goes first.
_MOST_ALIKE = 8
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Embedder(Protocol):
    """Vectors of texts, on the account of a caller; see ``serving.embed.EmbedService.vectors``."""

    async def vectors(
        self, caller: Caller, model: str, texts: Sequence[str], call: CallContext
    ) -> list[list[float]]: ...


class _Entry:
    """One kept answer. Its vector is made when it is first compared."""

    __slots__ = ("ends", "kept", "size", "text", "vector")

    def __init__(self, text: str, vector: list[float] | None, kept: Kept, ends: float, size: int) -> None:
        self.text, self.vector, self.kept, self.ends, self.size = text, vector, kept, ends, size


class SemanticCache:
    """Belongs to one event loop. At most ``most_bytes`` of answers; compartments least lately used go first."""

    def __init__(self, clock: Clock, embedder: Embedder, most_bytes: int = 32 * 1024 * 1024) -> None:
        self._clock = clock
        self._embedder = embedder
        self._most = most_bytes
        self._size = 0
        self._compartments: OrderedDict[str, list[_Entry]] = OrderedDict()

    def rule(self, order: Order) -> SemanticRule | None:
        """What holds for this call; ``None``: nothing is compared. The header asks where the row does not."""
        call = order.call
        if call.cache_seconds is not None:
            return None
        rule = order.spec.semantic_cache
        if rule is None and call.semantic:
            name = order.catalogue.defaults.get("semantic_cache")
            if name is None or order.catalogue.models[name].type != "embedding":
                raise ValidationFailed(
                    "x-gateway-cache: no embedding model is set for semantic caching",
                    mend="name one in defaults.semantic_cache of models.yaml, or give the model a semantic_cache",
                    param="x-gateway-cache",
                )
            rule = SemanticRule(name)
        return rule

    async def join(self, order: Order, rule: SemanticRule, ticket: Ticket, *, stream: bool) -> Kept | Ticket:
        """The answer of a question that is alike; else the ``ticket``, whose answer will be kept here too."""
        asked = _alone(order.chat)
        shape = None if asked is None else form(asked[0])
        if asked is None or shape is None:
            return ticket
        text, rest = asked
        key = _compartment(order, rest, rule, shape, stream=stream)
        try:
            found, vector = await self._find(order, rule, key, text)
        except BaseException:
            ticket.give_up()
            raise
        if found is not None:
            ticket.give_up()
            return found
        ticket.also = lambda kept: self._keep(key, text, vector, kept, rule.ttl)
        return ticket

    async def _find(
        self, order: Order, rule: SemanticRule, key: str, text: str
    ) -> tuple[Kept | None, list[float] | None]:
        """The nearest kept answer where it is near enough, and the vector of ``text`` where one was made."""
        alive = self._alive(key)
        if not alive:
            return None, None
        same = next((entry for entry in alive if entry.text == text), None)
        if same is not None:
            return self._given(order, key, same, 1.0), same.vector
        bare = [entry for entry in alive if entry.vector is None]
        texts = [text, *(entry.text for entry in bare)]
        try:
            vectors = await self._embedder.vectors(order.caller, rule.model, texts, order.call)
        except GatewayError as error:
            # The cache is a comfort: the question goes on to its model, and the record says why.
            order.notes["cache"] = {"problem": error.code, "model": rule.model}
            return None, None
        for entry, vector in zip(bare, vectors[1:], strict=True):
            entry.vector = vector
        nearest, similarity = max(
            ((entry, cosine(vectors[0], entry.vector or vectors[0])) for entry in alive), key=lambda pair: pair[1]
        )
        if similarity < rule.threshold:
            return None, vectors[0]
        return self._given(order, key, nearest, similarity), vectors[0]

    def _given(self, order: Order, key: str, entry: _Entry, similarity: float) -> Kept:
        if key in self._compartments:  # it may have gone while the vectors were made
            self._compartments.move_to_end(key)
        order.notes["cache"] = {"similarity": round(similarity, 4), "first_request_id": entry.kept.request_id}
        return entry.kept

    def _alive(self, key: str) -> list[_Entry]:
        entries = self._compartments.get(key)
        if entries is None:
            return []
        now = self._clock.monotonic()
        alive = [entry for entry in entries if entry.ends > now]
        if len(alive) < len(entries):
            self._drop(key)
            if alive:
                self._put(key, alive)
        return alive

    def _keep(self, key: str, text: str, vector: list[float] | None, kept: Kept, ttl: int) -> None:
        if not _is_whole_text(kept.value):
            return
        size = len(_ENCODER.encode(kept.value)) + 8 * len(vector or ()) + 2 * len(text) + 512
        if size > self._most // 4:
            return
        others = [entry for entry in self._alive(key) if entry.text != text]
        self._drop(key)
        entry = _Entry(text, vector, kept, self._clock.monotonic() + ttl, size)
        self._put(key, [*others[-_MOST_ALIKE + 1 :], entry])
        while self._size > self._most:
            self._drop(next(iter(self._compartments)))

    def _put(self, key: str, entries: list[_Entry]) -> None:
        self._compartments[key] = entries
        self._size += sum(entry.size for entry in entries)

    def _drop(self, key: str) -> None:
        self._size -= sum(entry.size for entry in self._compartments.pop(key, ()))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """How alike two directions are, -1 to 1; 0 where one has none."""
    lengths = math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def _compartment(order: Order, rest: Chat, rule: SemanticRule, shape: tuple[str, ...], *, stream: bool) -> str:
    exact = cache_key(order.caller, rest, order.catalogue.epoch, stream=stream)
    content = _ENCODER.encode([exact, rule.model, msgspec.to_builtins(rest.messages), shape])
    return hashlib.sha256(content).hexdigest()


def _alone(chat: Chat) -> tuple[str, Chat] | None:
    """The one question of a conversation of one turn, and the chat without it; ``None`` for any other."""
    *before, last = chat.messages
    single = last.role == "user" and len(last.parts) == 1 and all(turn.role == "system" for turn in before)
    if not single or chat.native_only or not isinstance(last.parts[0], TextPart):
        return None
    text = last.parts[0].text
    rest = msgspec.structs.replace(chat, messages=(*before, Message("user", (TextPart(""),))))
    if chat.native is not None:
        native = _blank(chat.native, text)
        if native is None:
            return None
        rest = msgspec.structs.replace(rest, native=native)
    return text, rest


def _blank(native: dict[str, Any], text: str) -> dict[str, Any] | None:
    """A caller's own body without the question; ``None`` where the question is not plain to see there."""
    turns = native.get("messages")
    if not isinstance(turns, list) or not turns or not isinstance(turns[-1], dict):
        return None
    last, content = turns[-1], turns[-1].get("content")
    if content == text:
        blank: Any = ""
    elif isinstance(content, list) and len(content) == 1 and content[0].get("text") == text:
        blank = [{**content[0], "text": ""}]
    else:
        return None
    return {**native, "messages": [*turns[:-1], {**last, "content": blank}]}


def _is_whole_text(value: object) -> bool:
    """Whether an answer is text that came to its own end: no tool is called, nothing is cut off or refused."""
    if isinstance(value, Reply):
        natural = all(choice.finish == "stop" for choice in value.choices)
        plain = all(isinstance(part, TextPart | ThinkingPart) for choice in value.choices for part in choice.parts)
        return natural and plain and bool(value.text()) and not _refuses(value.native)
    if isinstance(value, tuple):
        pieces: tuple[Delta, ...] = value
        natural = all(piece.finish in (None, "stop") for piece in pieces)
        plain = all(piece.tool_index is None for piece in pieces) and any(piece.text for piece in pieces)
        return natural and plain and not any(_refuses(piece.native) for piece in pieces)
    return False


def _refuses(native: Native | None) -> bool:
    """Whether a provider's answer or event is a refusal in words."""
    event = native.event if native is not None else None
    choices = (event or {}).get("choices") or ()
    return any((choice.get("message") or choice.get("delta") or {}).get("refusal") for choice in choices)
