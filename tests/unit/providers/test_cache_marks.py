"""Where marks for Anthropic's prompt cache stand, and where not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.api.wire import anthropic, openai
from gateway.models.llm_models import Chat, PromptCache
from gateway.providers import anthropic_wire, openai_wire
from gateway.providers.cache_marks import marked

LONG = "A long and stable instruction. " * 200
MARK = {"type": "ephemeral"}


def marks(value: Any, at: str = "") -> list[str]:
    """Where ``cache_control`` stands."""
    if isinstance(value, dict):
        own = [at] if "cache_control" in value else []
        return own + [mark for name, item in value.items() for mark in marks(item, f"{at}.{name}")]
    if isinstance(value, list):
        return [mark for number, item in enumerate(value) for mark in marks(item, f"{at}[{number}]")]
    return []


def turns(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(texts)]


def body(messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": messages, **fields}


def test_marks_stand_behind_what_comes_again_and_never_on_the_newest_turn() -> None:
    tools = [{"name": "a", "description": LONG}, {"name": "b"}]
    made = marked(body(turns("1", "2", "3", "4", "5"), tools=tools, system=LONG), "claude-sonnet-4-5")
    assert marks(made) == [
        ".messages[1].content[0]", ".messages[3].content[0]", ".tools[1]", ".system[0]",
    ]  # fmt: skip
    assert made["messages"][3]["content"] == [{"type": "text", "text": "4", "cache_control": MARK}]
    assert tools[1] == {"name": "b"}, "what was given is left as it was"


def test_what_is_too_short_to_be_kept_is_not_marked() -> None:
    short = body(turns("Hello"), system="Be brief.")
    assert marked(short, "claude-sonnet-4-5") == short
    assert marks(marked(body(turns("Hello"), system=LONG), "claude-sonnet-4-5")) == [".system[0]"]
    assert marks(marked(body(turns("Hello"), system=LONG), "claude-3-haiku-20240307")) == []
    assert marks(marked(body(turns("Hello"), system="x" * 2_200), "claude-opus-5")) == [".system[0]"]


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": MARK},
        {"system": [{"type": "text", "text": LONG, "cache_control": MARK}, {"type": "text", "text": LONG}]},
        {"tools": [{"name": "a", "cache_control": MARK}], "system": LONG},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "1",
                            "content": [{"type": "text", "text": LONG, "cache_control": MARK}],
                        }
                    ],
                }
            ]
        },
    ],
)
def test_the_callers_own_marks_are_left_alone(fields: dict[str, Any]) -> None:
    given = {**body(turns(LONG, "2", "3")), **fields}
    assert marked(given, "claude-sonnet-4-5") == given


def test_thoughts_are_not_marked() -> None:
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    given = body([*turns(LONG * 2), thought, *turns("and?")], system=LONG)
    assert marks(marked(given, "claude-sonnet-4-5")) == [".system[0]"]


def sent(chat: Chat) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.json.decode(
        anthropic_wire.encode(chat, "claude-sonnet-4-5", stream=False, max_tokens=9)[0]
    )
    return made


@pytest.mark.parametrize("dialect", ["anthropic", "openai"])
def test_only_a_call_that_asks_is_marked(dialect: str) -> None:
    if dialect == "anthropic":
        chat = anthropic.decode(body(turns("Hi"), system=LONG)).chat
    else:
        chat = openai.decode({"model": "m", "messages": [{"role": "system", "content": LONG}, *turns("Hi")]}).chat
    assert marks(sent(chat)) == []
    assert marks(sent(msgspec.structs.replace(chat, prompt_cache=PromptCache()))) == [".system[0]"]


def test_openai_is_told_the_session_unless_the_caller_said_another_key() -> None:
    def key(chat: Chat, *, cache_key: bool = True) -> Any:
        encoded = openai_wire.encode(chat, "gpt-4o", stream=False, cache_key=cache_key)[0]
        return msgspec.json.decode(encoded).get("prompt_cache_key")

    asked = PromptCache("session-7")
    plain = openai.decode({"model": "m", "messages": turns("Hi")}).chat
    own = openai.decode({"model": "m", "messages": turns("Hi"), "prompt_cache_key": "mine"}).chat
    assert key(plain) is None
    assert key(msgspec.structs.replace(plain, prompt_cache=asked)) == "session-7"
    assert key(msgspec.structs.replace(plain, prompt_cache=asked, native=None)) == "session-7"
    assert key(msgspec.structs.replace(plain, prompt_cache=asked), cache_key=False) is None
    assert key(msgspec.structs.replace(own, prompt_cache=asked)) == "mine"
