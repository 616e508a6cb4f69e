"""``llm_analysis``: a language model reads what the earlier steps found; its numbers are traced or flagged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import ValidationFailed
from gateway.governance.number_tracing import Fact, facts_of, trace_numbers
from gateway.models.llm_models import Chat, Message, TextPart
from gateway.registry.prompt_labels import SplitKey
from gateway.workflows.batch_step import as_it_was, complete, handed_over
from gateway.workflows.chat_input import chat_of, rendered_of, result_of
from gateway.workflows.context import StepContext

#: Facts of each earlier step put before the model, and in all: few enough for a small context.
_FACTS_A_STEP, _MOST_FACTS = 3, 12
_SYSTEM = (
    "You are a risk analyst who writes short, sober reports in plain English. "
    "Use only the facts you are given and copy their numbers exactly; do not make up others."
)


async def analyse(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """One call of the step's model with the first facts of each step before it as context.

    The result has ``response`` and, for every number in it, where it comes from (``numbers``): traced
    means that the number stands in the inputs, not that the sentence around it is right.
    """
    config = context.model_config or {}
    ask = await handed_over(context)
    data = dict(as_it_was(data, ask))
    facts = [*_given(data.get("context")), *_upstream(context.upstream)][:_MOST_FACTS]
    key = SplitKey("run", context.run_id)  # every step of a run, and every attempt, asks one version
    rendered = await asyncio.to_thread(rendered_of, data, context.caller, context.prompts, key)
    model = context.model_for("llm_analysis", "" if rendered is None else rendered.defaults.model)
    asked = chat_of(model, config.get("parameters") or {}, data, rendered)
    chat = _with_facts(asked, facts)
    context.progress(0.1, f"asking {model}")
    call = context.call(notes=None if rendered is None else rendered.notes)
    answer = await complete(context, chat, call, ask)
    result = result_of(answer.reply, answer.meta, rendered)
    prompt = "\n".join(message.text() for message in asked.messages if message.role == "user")
    numbers = trace_numbers(result["response"], [*facts, *facts_of(context.upstream)], prompt)
    result["numbers"] = [msgspec.to_builtins(number) for number in numbers]
    result["context_facts"] = [msgspec.to_builtins(fact) for fact in facts]
    return result


def _with_facts(chat: Chat, facts: list[Fact]) -> Chat:
    """The facts as sentences before the caller's own words, in the last user turn."""
    if not facts:
        return chat
    *before, last = chat.messages
    told = " ".join(f"The {fact.name} is {_shown(fact)}." for fact in facts)
    system = Message("system", (TextPart(_SYSTEM),))
    user = Message(last.role, (TextPart(f"{told}\n\n{last.text()}"),))
    return msgspec.structs.replace(chat, messages=(system, *before, user))


def _shown(fact: Fact) -> str:
    value = fact.value
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    if fact.unit in ("", "date", "fraction", "ratio", "text"):
        return text
    return text + (f" {fact.unit}")


def _upstream(outputs: Mapping[str, Mapping[str, Any]]) -> list[Fact]:
    """The first facts of each step: they are in the order of their weight."""
    return [fact for name, output in outputs.items() for fact in facts_of({name: output})[:_FACTS_A_STEP]]


def _given(raw: Any) -> list[Fact]:
    """Context that the caller gave: an object of name: value."""
    if raw is None:
        return []
    if not isinstance(raw, Mapping):
        place = "input_data.context"
        raise ValidationFailed(f"{place}: an object of name: value is expected", param=place)
    return [
        Fact(str(name), value, "", "input_data.context")
        for name, value in raw.items()
        if isinstance(value, (int, float, str)) and not isinstance(value, bool)
    ]
