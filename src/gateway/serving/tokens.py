"""Tokens of a call, before it and after: what it has, what can be saved, what it used where nobody told.

Counting and rewriting take milliseconds to seconds (a table is loaded at first use): everything here
that is not ``async`` is to be called from a thread.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeGuard

from msgspec import Struct, structs

from gateway.errors import Unavailable
from gateway.governance.compaction import compact, tell_once
from gateway.governance.policy import input_tokens_bound
from gateway.governance.token_rules import count_chat
from gateway.governance.trimming import trimmed
from gateway.ledger.pricing import MOST_TOKENS
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Part, PromptCache, Reply, TextPart, ThinkingPart, ToolUsePart, Usage
from gateway.models.optimise import Optimise, parse_optimise
from gateway.models.tokens import YARDSTICK, Count, TokenCount, Tokenizers, TokenRule, rule_of
from gateway.registry.catalogue import Catalogue, ModelSpec

_log = logging.getLogger(__name__)
#: What another model's text is measured by.
_RULER = TokenRule(YARDSTICK, False, 10)


class Optimised(Struct, frozen=True):
    """A chat made smaller, and what the record of the call says of it."""

    chat: Chat
    note: dict[str, Any]


class Said(Struct, frozen=True):
    """What came of an answer; ``plain`` where it was nothing but text."""

    text: str = ""
    plain: bool = True


SILENCE = Said()
_NOTHING_SAID = ("no_output_tokens",)


def untold(usage: Usage) -> bool:
    """Whether the usage of a whole answer leaves out a side of it, or tells there what cannot be."""
    return (
        usage.basis == "none" or not 0 < usage.input_tokens <= MOST_TOKENS or not 0 < usage.output_tokens <= MOST_TOKENS
    )


def flagged(usage: Usage) -> Usage:
    """The same, with a name for each thing that a provider who answered should have told."""
    if usage.basis == "none":
        return structs.replace(usage, odd=("usage_missing",))
    odd = []
    for name in ("input_tokens", "output_tokens"):
        count = getattr(usage, name)
        if not 0 < count <= MOST_TOKENS:
            odd.append(f"{'absurd' if count > 0 else 'negative' if count else 'no'}_{name}")
    return structs.replace(usage, odd=tuple(odd))


def guessed(said: Said, told: Usage, estimate: int) -> Usage:
    """Usage of an answer whose provider did not tell all of it, where no table counts its tokens."""
    output = max(_possible(told.output_tokens), (len(said.text) + 3) // 4)
    tokens = _possible(told.input_tokens) or estimate
    return structs.replace(told, input_tokens=tokens, output_tokens=output, basis="estimated")


def said_nothing(said: Said, told: Usage) -> bool:
    """Whether all that is odd is an output of nothing, of an answer that is empty."""
    return told.odd == _NOTHING_SAID and not said.text


def _possible(count: int) -> int:
    return count if 0 < count <= MOST_TOKENS else 0


def said_by(reply: Reply) -> Said:
    """What a whole answer says."""
    parts = [part for choice in reply.choices for part in choice.parts]
    texts = [part.arguments if isinstance(part, ToolUsePart) else part.text for part in parts if _speaks(part)]
    return Said("".join(texts), all(isinstance(part, TextPart) for part in parts))


def _speaks(part: Part) -> TypeGuard[TextPart | ToolUsePart | ThinkingPart]:
    return isinstance(part, TextPart | ToolUsePart | ThinkingPart)


class TokenService:
    """Counts by the model's own table where it is known; one instance a process is enough."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        self._tokenizers = tokenizers

    async def optimised(
        self, catalogue: Catalogue, spec: ModelSpec, chat: Chat, call: CallContext, notes: dict[str, Any]
    ) -> Chat:
        """The chat with what its model's row and the call ask done to it; the saving goes into ``notes``.

        ``ValidationFailed`` for words nobody knows, and where the chat cannot be trimmed enough.
        """
        asked = parse_optimise(call.optimise, spec.optimise, "x-gateway-optimise") if call.optimise else spec.optimise
        if asked is None:
            return chat
        if asked.prompt_cache == "auto":
            chat = structs.replace(chat, prompt_cache=PromptCache(call.session))
            notes["prompt_cache"] = "auto"
        if not asked.methods and asked.trim is None:
            return chat
        made = await asyncio.to_thread(self._optimised, asked, self._rule(catalogue, spec), chat)
        notes["tokens"] = made.note
        return made.chat

    def count(self, provider_type: str, spec: ModelSpec, chat: Chat) -> TokenCount | None:
        """Tokens of the input by the model's own table; ``None`` where it is not known."""
        rule = rule_of(provider_type, spec.upstream_model or spec.name)
        if rule is None:
            return None
        tokens, exact = count_chat(chat, rule, self._tokenizers.counter(rule.encoding))
        return TokenCount(tokens, "counted" if exact else "estimated", rule.encoding)

    def count_text(self, provider_type: str, spec: ModelSpec, text: str) -> TokenCount | None:
        """Tokens of a bare text by the model's own table; ``None`` where it is not known."""
        rule = rule_of(provider_type, spec.upstream_model or spec.name)
        if rule is None:
            return None
        return TokenCount(self._tokenizers.counter(rule.encoding)(text), "counted", rule.encoding)

    def bound(self, provider_type: str, spec: ModelSpec, chat: Chat) -> int:
        """What the input surely does not pass, by an exact count where there is one: with a margin, for
        the rule is the provider's to change."""
        most = input_tokens_bound(chat)
        counted = self.count(provider_type, spec, chat)
        if counted is None or counted.basis != "counted":
            return most
        return min(most, counted.tokens + counted.tokens // 50 + 16)

    def used(self, provider_type: str, spec: ModelSpec, chat: Chat, said: Said, told: Usage, estimate: int) -> Usage:
        """Usage of an answer whose provider did not tell all of it: ``said`` is what came, ``told`` what
        was told, ``estimate`` about how many tokens the input has. ``counted`` where both sides are exact. A
        table that is not there costs exactness, never the account of a call."""
        if said_nothing(said, told):
            return structs.replace(told, odd=())  # an answer may be empty
        rule = rule_of(provider_type, spec.upstream_model or spec.name)
        count = None if rule is None else self._counter(rule.encoding)
        if rule is None or count is None:
            return guessed(said, told, estimate)
        told_input, told_output = _possible(told.input_tokens), _possible(told.output_tokens)
        tokens, exact = (told_input, True) if told_input else count_chat(chat, rule, count)
        output = max(told_output, count(said.text))
        # Frames of tool calls, and reasoning that nobody shows, cannot be counted.
        basis = "counted" if exact and said.plain and rule.published else "estimated"
        return structs.replace(told, input_tokens=tokens, output_tokens=output, basis=basis)

    def _counter(self, encoding: str) -> Count | None:
        try:
            return self._tokenizers.counter(encoding)
        except Unavailable as error:
            _log.warning("a call is settled by an estimate: %s", error.message)
            return None

    # -- parts ------------------------------------------------------------------------------------

    def _rule(self, catalogue: Catalogue, spec: ModelSpec) -> TokenRule:
        first = spec if spec.route is None else catalogue.models[spec.route.deployments[0].model]
        found = rule_of(catalogue.provider(first.provider).type, first.upstream_model or first.name)
        return found or _RULER

    def _optimised(self, asked: Optimise, rule: TokenRule, chat: Chat) -> Optimised:
        count = self._tokenizers.counter(rule.encoding)
        before, exact = count_chat(chat, rule, count)
        made, methods, dropped = self._smaller(asked, rule, chat, count)
        after, _ = count_chat(made, rule, count)
        if after >= before:
            made, after, methods, dropped = chat, before, (), 0
        note: dict[str, Any] = {
            "before": before,
            "after": after,
            "saved": before - after,
            "methods": list(methods),
            "basis": "counted" if exact else "estimated",
        }
        if dropped:
            note["dropped_turns"] = dropped
        return Optimised(made, note)

    @staticmethod
    def _smaller(asked: Optimise, rule: TokenRule, chat: Chat, count: Count) -> tuple[Chat, tuple[str, ...], int]:
        """Written shorter, and trimmed only where that is not enough. Blocks refer to each other last, so
        that none goes that another refers to."""

        def told(given: Chat) -> Chat:
            return tell_once(given, asked.repeat_tokens, count) if "repeats" in asked.methods else given

        shorter, methods = compact(chat, asked.methods, count) if asked.methods else (chat, ())
        dropped = 0
        if asked.trim is not None:
            shorter, dropped = trimmed(shorter, asked.trim, rule, count, told)
        made = told(shorter)
        if made != shorter:
            methods = (*methods, "repeats")
        return made, (*methods, *(("trim",) if dropped else ())), dropped
