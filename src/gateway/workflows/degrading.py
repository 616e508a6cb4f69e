"""A run that has reached its budget goes on with a cheaper model, where it was begun so."""

from __future__ import annotations

import msgspec

from gateway.errors import BudgetExceeded
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat
from gateway.security.access import Caller
from gateway.serving.answer import ChatAnswer
from gateway.workflows.context import ChatPort


class DegradingChat:
    """Asks ``model`` what the run's budget no longer covers; see ``models.run_budget``."""

    def __init__(self, chat: ChatPort, model: str) -> None:
        self._chat = chat
        self._model = model

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        try:
            return await self._chat.complete(caller, chat, call, provider=provider)
        except BudgetExceeded as error:
            if error.details.get("scope") != "run" or chat.model == self._model:
                raise
            notes = {**call.notes, "degraded": {"from": chat.model, "to": self._model, "why": "run_budget"}}
            other = msgspec.structs.replace(call, cause=f"{call.cause}:degraded", notes=notes)
            return await self._chat.complete(caller, msgspec.structs.replace(chat, model=self._model), other)


def degrading(chat: ChatPort, model: str) -> ChatPort:
    """The chat of a run that goes on with ``model`` at its limit; empty: it stops."""
    return DegradingChat(chat, model) if model else chat
