"""A long conversation within a budget of tokens: older exchanges go, what is pinned stays.

An exchange is a turn of the user with everything that answers it, so calls of tools and their results
stay together. Of the newest exchange the user's turn and the last round of tools always stay; its
earlier rounds may go, unless the model thought in between (its thoughts belong together).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache

from msgspec import Struct, structs

from gateway.errors import ValidationFailed
from gateway.governance.text_slots import native_turns, without
from gateway.governance.token_rules import count_frame, count_turn
from gateway.models.llm_models import Chat, Message, ThinkingPart, ToolResultPart, ToolUsePart
from gateway.models.optimise import Trim
from gateway.models.tokens import Count, TokenRule


class _Group(Struct, frozen=True):
    """Messages that stay or go together."""

    messages: tuple[int, ...]
    pinned: bool


def trimmed(
    chat: Chat, trim: Trim, rule: TokenRule, count: Count, sent: Callable[[Chat], Chat] = lambda chat: chat
) -> tuple[Chat, int]:
    """The chat with at most ``trim.max_input_tokens``, and how many turns were left out.

    ``sent`` is what will still be done to it, and is what is held against the budget.
    ``ValidationFailed`` where what has to stay is already too long.
    """
    frame, _ = count_frame(_textual(chat), rule, count)
    turn = cache(lambda message: count_turn(message, count)[0])

    def size(smaller: Chat) -> int:
        return frame + sum(map(turn, sent(smaller).messages))

    if size(chat) <= trim.max_input_tokens:
        return chat, 0
    may_go = [group.messages for group in _groups(chat.messages, trim) if not group.pinned]

    def left(groups: int) -> Chat:
        return without(chat, {at for group in may_go[:groups] for at in group})

    # the fewest of the oldest groups that have to go
    if chat.native is None or native_turns(chat) is not None:
        groups = bisect_left(range(len(may_go) + 1), True, key=lambda some: size(left(some)) <= trim.max_input_tokens)
        if groups <= len(may_go):
            return left(groups), sum(map(len, may_go[:groups]))
    least = size(left(len(may_go)))
    raise ValidationFailed(
        f"messages: what has to stay (system, pinned and newest turns, tools) has about {least} tokens, "
        f"the budget is {trim.max_input_tokens}",
        mend="pin less, shorten the newest turn, or raise trim.max_input_tokens",
        param="messages",
        tokens=least,
        max_input_tokens=trim.max_input_tokens,
    )


def _textual(chat: Chat) -> Chat:
    """Without documents and sound, of which nobody knows how many tokens they have."""
    return structs.replace(chat, native_only=()) if chat.native_only else chat


def _groups(messages: Sequence[Message], trim: Trim) -> list[_Group]:
    """What may go, oldest first, and what may not."""
    exchanges = _exchanges(messages)
    turns = [at for exchange in exchanges for at in exchange]
    named = {turns[pin] for pin in trim.pinned if -len(turns) <= pin < len(turns)}
    kept = {*range(trim.keep_first), *range(len(exchanges) - max(trim.keep_last, 1), len(exchanges))}
    groups: list[_Group] = []
    for number, exchange in enumerate(exchanges):
        pinned = number in kept or not named.isdisjoint(exchange)
        if number < len(exchanges) - 1:
            groups.append(_Group(tuple(exchange), pinned))
        else:
            groups += _rounds(messages, exchange, named)
    return groups


def _exchanges(messages: Sequence[Message]) -> list[list[int]]:
    exchanges: list[list[int]] = []
    for at, message in enumerate(messages):
        if message.role == "system":
            continue
        if not exchanges or _asks(message):
            exchanges.append([])
        exchanges[-1].append(at)
    return exchanges


def _asks(message: Message) -> bool:
    """A turn of the user's own: not one that only brings what a tool gave back."""
    return message.role == "user" and not any(isinstance(part, ToolResultPart) for part in message.parts)


def _rounds(messages: Sequence[Message], exchange: Sequence[int], named: set[int]) -> list[_Group]:
    """The newest exchange: its rounds of tools, the last one and all that is no round pinned."""
    thought = any(isinstance(part, ThinkingPart) for at in exchange for part in messages[at].parts)
    rounds: list[list[int]] = []
    for at in exchange:
        calls = any(isinstance(part, ToolUsePart) for part in messages[at].parts)
        if calls or not rounds or _asks(messages[at]):
            rounds.append([])
        rounds[-1].append(at)
    last = len(rounds) - 1
    return [
        _Group(
            tuple(group),
            thought
            or number == last
            or not named.isdisjoint(group)
            or not any(isinstance(part, ToolUsePart) for part in messages[group[0]].parts),
        )
        for number, group in enumerate(rounds)
    ]
