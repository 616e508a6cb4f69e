"""A step whose one chat goes by its provider's batch API, where ``model_config.batch`` says so.

The chat is handed over once, under the task's id; the step then waits without its worker, and a later call of its
handler finds the answer. Where no way leads there the chat is asked at once, unless the step insists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.engine.waiting import StepWaits
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat
from gateway.serving.answer import AnswerMeta, ChatAnswer
from gateway.serving.batch_offers import problem_of, refusal
from gateway.store.provider_batch_store import CAUSE, Ask
from gateway.workflows.batch_tools import BatchTools
from gateway.workflows.context import StepContext

#: A step hands over one request.
_LINE = 1
#: Steps of all runs may go in one batch: a provider sees one account of all of them.
_GATHERING = "steps"
_FIELD = "model_config.batch"


async def handed_over(context: StepContext) -> Ask | None:
    """The request that an earlier call of the handler handed over, ended; ``StepWaits`` while it is on its way."""
    if not _wish(context) or context.batch is None:
        return None
    ask = await asyncio.to_thread(context.batch.asks.ask, context.task_id, _LINE)
    if ask is not None and ask.state != "done":
        _wait(context, context.batch)
    return ask


def as_it_was(data: Mapping[str, Any], ask: Ask | None) -> Mapping[str, Any]:
    """The input with the version of a prompt that was handed over, wherever its labels point by now."""
    note = None if ask is None else ask.terms.notes.get("prompt")
    if note is None:
        return data
    return {**data, "template": note["id"], "version": note["version"], "label": None}


async def complete(context: StepContext, chat: Chat, call: CallContext, ask: Ask | None) -> ChatAnswer:
    """The answer to the step's chat, from ``ask`` where it has one; ``StepWaits`` where it was handed over now."""
    wish, tools = _wish(context), context.batch
    provider = (context.model_config or {}).get("provider")
    if not wish or tools is None:
        return await context.chat.complete(context.caller, chat, call, provider=provider)
    if ask is not None and ask.answer is not None:
        return _answered(tools, ask)
    if ask is not None:
        told = ask.error or {}
        if told.get("code") != "refused" or wish == "provider":
            await asyncio.to_thread(tools.asks.drop, context.task_id, _LINE)  # another attempt hands it over anew
            raise problem_of(ask.provider, told)
        reason: str | None = "refused"
    else:
        reason = await _offer(context, tools, chat, call)
    if reason is None:
        _wait(context, tools)
    if wish == "provider":
        raise refusal(str(reason), _FIELD)
    call = msgspec.structs.replace(call, notes={**call.notes, "batch": {"way": "inline", "why": reason}})
    return await context.chat.complete(context.caller, chat, call, provider=provider)


async def _offer(context: StepContext, tools: BatchTools, chat: Chat, call: CallContext) -> str | None:
    owner = context.task_id
    call = msgspec.structs.replace(call, cause=call.cause + CAUSE)
    reason = await tools.offers.offer(context.caller, chat, call, owner=owner, line=_LINE, gathering=_GATHERING)
    if reason is None:
        await asyncio.to_thread(tools.asks.seal, owner)
    return reason


def _wait(context: StepContext, tools: BatchTools) -> None:
    context.progress(0.1, "the request is with its provider's batch API")
    raise StepWaits(tools.every)


def _answered(tools: BatchTools, ask: Ask) -> ChatAnswer:
    charge, reply = ask.terms.charge, tools.offers.reply(ask)
    meta = AnswerMeta(
        request_id=charge.request_id,
        model=ask.model,
        provider=ask.provider,
        upstream_model=reply.model or charge.upstream_model,
        cost=ask.cost,
        config_epoch=charge.config_epoch,
        dropped_params=tuple(ask.terms.notes.get("dropped_params", ())),
        route="batch",
    )
    return ChatAnswer(reply, meta)


def _wish(context: StepContext) -> bool | str:
    wish: bool | str = (context.model_config or {}).get("batch", False)
    return wish
