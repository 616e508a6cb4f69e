"""A run or a step that has reached its budget goes on with a cheaper model, where it is to."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.errors import BudgetExceeded
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat
from gateway.models.run_budget import Bound
from gateway.security.access import Caller
from gateway.serving.answer import ChatAnswer
from gateway.workflows.context import ChatPort


class DegradingChat:
    """Asks another model what one budget no longer covers; see ``models.run_budget``."""

    def __init__(self, chat: ChatPort, bound: Bound) -> None:
        self._chat = chat
        self._bound = bound

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        try:
            return await self._chat.complete(caller, chat, call, provider=provider)
        except BudgetExceeded as error:
            model, why = self._bound.degrade_to, f"{self._bound.scope}_budget"
            refused = f"{error.details.get('scope')}:{error.details.get('subject')}"
            if refused != self._bound.name or chat.model == model:
                raise
            notes = {**call.notes, "degraded": {"from": chat.model, "to": model, "why": why}}
            other = msgspec.structs.replace(call, cause=f"{call.cause}:degraded", notes=notes)
            return await self._chat.complete(caller, msgspec.structs.replace(chat, model=model), other)


def degrading(chat: ChatPort, bounds: Iterable[Bound]) -> ChatPort:
    """The chat of a step within these budgets, the outermost first; at one without a model to go on with it stops."""
    for bound in bounds:
        chat = DegradingChat(chat, bound) if bound.degrade_to else chat
    return chat
