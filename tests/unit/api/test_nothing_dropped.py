"""Nothing is dropped in silence: every field of the public APIs, as the official SDKs declare them, at every backend.

A field is carried (the provider's body changes), named in the answer, or refused; there is no fourth way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

import pytest
from anthropic.types import ContentBlockParam
from anthropic.types.beta import BetaContentBlockParam
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaMessageCreateParamsBase
from anthropic.types.message_create_params import MessageCreateParamsBase
from anthropic.types.tool_result_block_param import Content as ResultContent
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.moderation_create_params import ModerationCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import BaseModel
from typing_extensions import get_type_hints

from fixtures.responses_kit import EVERYTHING
from fixtures.responses_kit import FUNCTION as RESPONSES_TOOL
from gateway.api.wire import anthropic, embeddings, moderations, openai, responses
from gateway.errors import NotBuilt, NotSupported, ValidationFailed
from gateway.models.llm_models import Chat
from gateway.providers import anthropic_wire, bedrock_wire, embeddings_wire, gemini_wire, openai_wire
from gateway.providers.embedded_wire import EmbeddedWire

Encode = Callable[[Chat], tuple[bytes, tuple[str, ...]]]
BACKENDS: dict[str, Encode] = {
    "openai": lambda chat: openai_wire.encode(chat, "up", stream=False),
    "anthropic": lambda chat: anthropic_wire.encode(chat, "up", stream=False, max_tokens=99),
    "gemini": lambda chat: gemini_wire.encode(chat, stream=False),
    "bedrock": bedrock_wire.encode,
    "embedded": lambda chat: EmbeddedWire("up", 64).encode(chat, stream=False),
}
FUNCTION = {"name": "f", "description": "F", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
#: A value for each field that means something; a field stands with what it needs beside it.
OPENAI: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "mp3"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [FUNCTION],
    "logit_bias": {"5": 1},
    "logprobs": True,
    "max_completion_tokens": 30_000,
    "max_tokens": 30_000,
    "messages": [{"role": "user", "content": "Another question"}],
    "metadata": {"team": "risk"},
    "modalities": ["text", "audio"],
    "model": "another",
    "moderation": {"model": "omni-moderation-latest"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "safety_identifier": "u",
    "seed": 3,
    "service_tier": "flex",
    "stop": ["END"],
    "store": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "tool_choice": "required",
    "tools": [TOOL],
    "top_logprobs": 2,
    "top_p": 0.5,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {},
}
ANTHROPIC: dict[str, Any] = {
    "cache_control": {"type": "ephemeral"},
    "container": "c1",
    "diagnostics": {"previous_message_id": "m"},
    "inference_geo": "eu",
    "max_tokens": 30_000,
    "messages": [{"role": "user", "content": "Another question"}],
    "metadata": {"user_id": "u"},
    "model": "another",
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"},
    "service_tier": "auto",
    "speed": "fast",
    "stop_sequences": ["END"],
    "system": "Be brief.",
    "temperature": 0.5,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tool_choice": {"type": "any"},
    "tools": [{"name": "f", "description": "F", "input_schema": {"type": "object"}}],
    "top_k": 5,
    "top_p": 0.5,
}
#: Fields that Anthropic's SDKs send as headers; see ``test_request_headers``.
ANTHROPIC_HEADERS = {"user_profile_id", "workspace_id"}
#: The model's name is the route's; how a stream is told is the door's own matter.
DOORS_OWN = {"model", "stream_options"}
#: Fields that say nothing without another one.
BESIDE = {
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
    "top_logprobs": "logprobs",
    "function_call": "functions",
}
#: Fields that are named by the word of our own model of a chat.
NAMED_AS = {"metadata": ("metadata", "user")}


def told(decode: Any, base: dict[str, Any], name: str, value: Any, encode: Encode) -> str:
    """How the field fares: ``carried``, ``named``, ``refused``, or nothing."""
    try:
        before, _ = encode(decode(base).chat)
        after, named = encode(decode({**base, name: value}).chat)
    except (NotSupported, ValidationFailed) as refused:
        return "refused" if refused.param else ""
    if after != before:
        return "carried"
    words = NAMED_AS.get(name, (name,))
    return "named" if any(item.split(".")[0] in words for item in named) else ""


def test_every_field_of_the_public_apis_is_here() -> None:
    assert set(CompletionCreateParamsBase.__annotations__) <= set(OPENAI)
    assert set(MessageCreateParamsBase.__annotations__) <= set(ANTHROPIC) | ANTHROPIC_HEADERS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(set(OPENAI) - DOORS_OWN))
def test_no_field_of_openai_is_lost(name: str, backend: str) -> None:
    base: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    beside = BESIDE.get(name)
    base |= {beside: OPENAI[beside]} if beside else {}
    if backend == "openai":
        assert told(openai.decode, base, name, OPENAI[name], BACKENDS[backend]) == "carried"
    elif name not in ("top_logprobs", "function_call") and not (
        backend == "embedded" and beside == "tools"
    ):  # what they need is refused already
        assert told(openai.decode, base, name, OPENAI[name], BACKENDS[backend])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(set(ANTHROPIC) - DOORS_OWN))
def test_no_field_of_anthropic_is_lost(name: str, backend: str) -> None:
    base: dict[str, Any] = {"model": "m", "max_tokens": 9_000, "messages": [{"role": "user", "content": "Hello"}]}
    beside = BESIDE.get(name)
    base |= {beside: ANTHROPIC[beside]} if beside else {}
    found = told(anthropic.decode, base, name, ANTHROPIC[name], BACKENDS[backend])
    assert found == "carried" if backend == "anthropic" else found


def kinds(union: Any) -> set[str]:
    """The values of ``type`` in a union of the SDK's blocks: those of requests, and answers sent back."""
    found: set[str] = set()
    for member in get_args(union):
        if get_origin(member) is Annotated:
            found |= kinds(get_args(member)[0])
        elif issubclass(member, BaseModel):
            found |= set(get_args(member.model_fields["type"].annotation))
        else:
            found |= set(get_args(get_type_hints(member)["type"]))
    return found


def test_every_block_of_anthropics_turns_is_known() -> None:
    known = {"text", "image", "tool_use", "tool_result", "thinking"}
    blocks = kinds(ContentBlockParam) | kinds(BetaContentBlockParam) | kinds(ResultContent)
    assert blocks
    for kind in blocks - known:
        turn = {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": kind, "text": "x"}]}
        chat = anthropic.decode({"model": "m", "max_tokens": 9, "messages": [turn]}).chat
        assert chat.native_only == (kind,), f"{kind} goes to Anthropic as it stands, and is refused elsewhere"


def test_every_field_of_anthropics_betas_is_known() -> None:
    beside = {"betas", "user_profile_id", "workspace_id"}  # headers
    for name in set(BetaMessageCreateParamsBase.__annotations__) - set(ANTHROPIC) - beside:
        base = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
        for backend, encode in BACKENDS.items():
            found = told(anthropic.decode, base, name, {"type": "x"}, encode)
            assert found, (name, backend)


#: What is about a response as such: the door's own matter.
RESPONSES_OWN = DOORS_OWN | {"store", "stream", "previous_response_id", "background", "truncation", "include"}


@pytest.mark.parametrize("name", sorted(set(ResponseCreateParamsBase.__annotations__) - RESPONSES_OWN))
def test_no_field_of_the_responses_api_is_lost(name: str) -> None:
    base: dict[str, Any] = {"model": "m", "input": "Hello", "tools": [RESPONSES_TOOL]}
    value = {"input": "Another", "tools": [], "top_logprobs": 2}.get(name, EVERYTHING.get(name, {"id": "x"}))
    try:
        request = responses.decode({**base, name: value})
    except (NotSupported, NotBuilt, ValidationFailed) as error:
        how = error.param
    else:
        changed = BACKENDS["openai"](request.chat)[0] != BACKENDS["openai"](responses.decode(base).chat)[0]
        how = "carried" if changed else "named" if name in request.reported else ""
    assert how


def test_the_smaller_doors_read_every_field() -> None:
    vectors = {"model": "m", "input": "x", "encoding_format": "base64", "dimensions": 5, "user": "u"}
    assert set(EmbeddingCreateParams.__annotations__) <= set(vectors)
    asked = json.loads(embeddings_wire.encode(embeddings.decode(vectors), "m"))
    assert set(asked) == set(vectors)
    judged = {"model": "m", "input": "x"}
    assert set(ModerationCreateParams.__annotations__) <= set(judged)
    assert moderations.decode(judged, None).model == "m"


def test_turns_of_the_system_go_where_they_stand() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "system", "content": "b", "clear_at": "never"}]
    chat = anthropic.decode({"model": "m", "max_tokens": 9, "messages": turns}).chat
    content, named = BACKENDS["openai"](chat)
    assert [turn["role"] for turn in json.loads(content)["messages"]] == ["user", "system"]
    assert named == ("messages.clear_at",)
    assert json.loads(BACKENDS["anthropic"](chat)[0])["messages"] == turns
