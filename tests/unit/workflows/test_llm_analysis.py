"""A language model reads the facts of earlier steps; its numbers are traced or flagged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.engine.task_types import index
from gateway.errors import ValidationFailed
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Choice, Reply, TextPart, Usage
from gateway.registry.prompt_labels import SplitKey
from gateway.registry.prompts import PromptService
from gateway.security.access import Caller, caller_for
from gateway.serving.answer import AnswerMeta, ChatAnswer
from gateway.workflows.built_in_task_types import BUILT_IN
from gateway.workflows.chat_input import chat_of, rendered_of
from gateway.workflows.llm_analysis import analyse

from .model_kit import Bench

FACTS = [
    {"name": "VaR at 99 %", "value": 3.306, "unit": "%"},
    {"name": "worst day", "value": "2008-10-15", "unit": "date"},
]


class Speaker:
    """Says what the test wants and keeps what it was asked."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[Chat] = []

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        self.asked.append(chat)
        reply = Reply("1", "m", (Choice((TextPart(self.text),), "stop"),), Usage(5, 5, basis="provider"))
        return ChatAnswer(reply, AnswerMeta(call.request_id, chat.model, provider or "p", "m", 0))


def told(text: str, data: dict[str, Any], upstream: dict[str, Any] | None = None) -> tuple[dict[str, Any], Chat]:
    speaker = Speaker(text)
    context = Bench().context({"name": "gpt-4", "parameters": {"temperature": 0.1}})
    context = type(context)(
        **{
            **{name: getattr(context, name) for name in context.__dataclass_fields__},
            "chat": speaker,
            "upstream": upstream or {},
            "prompts": PromptService(None, None, None),  # type: ignore[arg-type]  # inline templates only
        }
    )
    result = asyncio.run(analyse(context, data))
    assert result.keys() <= set(index(BUILT_IN)["llm_analysis"].outputs)
    return result, speaker.asked[0]


def test_facts_of_earlier_steps_come_before_the_question() -> None:
    result, chat = told(
        "VaR is 3.31 %, on 2008-10-15, and 77 % else.", {"prompt": "How bad?"}, {"risk": {"facts": FACTS}}
    )
    asked = chat.messages[-1].text()
    assert "3.306" in asked
    assert asked.endswith("How bad?")
    assert chat.messages[0].role == "system"
    assert [(number["text"], number["status"]) for number in result["numbers"]] == [
        ("3.31 %", "traced"),
        ("2008-10-15", "traced"),
        ("77 %", "flagged"),
    ]
    assert result["numbers"][0]["source"] == "risk: VaR at 99 %"
    assert result["response"].startswith("VaR is")


def test_without_facts_the_question_goes_as_it_is() -> None:
    _, chat = told("Yes.", {"prompt": "Is it?"})
    assert [message.text() for message in chat.messages] == ["Is it?"]
    assert chat.temperature == 0.1


def test_a_template_is_filled() -> None:
    _, chat = told("Yes.", {"template": "Is {{ x }} high?", "variables": {"x": "VaR"}})
    assert chat.messages[-1].text() == "Is VaR high?"


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "input_data"),
        ({"prompt": ""}, "input_data.prompt"),
        ({"prompt": 3}, "input_data.prompt"),
        ({"messages": "x"}, "input_data.messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "input_data.messages[0].role"),
        ({"template": "{{ a }}", "variables": {}}, "input_data.variables.a"),
        ({"template": "{{ a }}", "variables": 7}, "input_data.variables"),
        ({"template": "{{ a }}", "variables": {"a": 1, "b": 2}}, "input_data.variables.b"),
        ({"template": "{{ a }}", "variables": {"a": 1}, "label": "staging"}, "input_data.template"),
        ({"template": "{{ a }}", "prompt": "x", "variables": {"a": 1}}, "input_data"),
        ({"template": {"text": "{{"}}, "input_data.template"),
        ({"template": {"name": "x", "nothing": 1}}, "input_data.template.nothing"),
        ({"template": "x@1", "version": 2}, "input_data.template"),
        ({"template": "x", "version": True}, "input_data.version"),
        ({"template": "x", "version": 1, "label": "y"}, "input_data.version"),
        ({"template": "x", "label": "no label"}, "label"),
        ({"prompt": "x", "variables": {"a": 1}}, "input_data.variables"),
    ],
)
def test_a_question_that_is_none_is_refused_with_the_place(data: dict[str, Any], param: str) -> None:
    prompts = PromptService(None, None, None)  # type: ignore[arg-type]  # inline templates only
    with pytest.raises(ValidationFailed) as caught:
        chat_of("gpt-4", {}, data, rendered_of(data, caller_for("ann", "analyst"), prompts, SplitKey("run", "r")))
    assert (caught.value.param or "").startswith(param.split("[", maxsplit=1)[0])


def test_context_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="context"):
        told("Quiet.", {"prompt": "How bad?", "context": [1, 2]})
