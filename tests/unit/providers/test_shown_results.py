"""Images that a tool gave back, from the doors to the providers that take them there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from fixtures.responses_kit import CALL, asked
from gateway.api.wire import anthropic
from gateway.errors import NotSupported
from gateway.governance.policy import has_media, input_tokens_bound
from gateway.governance.token_rules import count_turn
from gateway.models.llm_models import Chat, ImagePart, ToolResultPart
from gateway.providers import anthropic_wire, bedrock_wire, gemini_wire, openai_wire, responses_input
from gateway.serving.selecting import needs_of

CHART = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
TEXT = {"type": "text", "text": "A chart."}
TOOL = {"name": "draw", "input_schema": {"type": "object"}}


def asked_with(*content: dict[str, Any]) -> Chat:
    call = {"type": "tool_use", "id": "c1", "name": "draw", "input": {}}
    turns = [
        {"role": "user", "content": "Draw."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": list(content)}]},
    ]
    return anthropic.decode({"model": "m", "max_tokens": 9, "messages": turns, "tools": [TOOL]}).chat


def sent(encoded: tuple[bytes, tuple[str, ...]]) -> dict[str, Any]:
    body, dropped = encoded
    assert dropped == ()
    value: dict[str, Any] = msgspec.json.decode(body)
    return value


@pytest.mark.parametrize("first", [True, False], ids=["image first", "text first"])
def test_bedrock_gets_them_in_their_order(first: bool) -> None:
    chat = asked_with(CHART, TEXT) if first else asked_with(TEXT, CHART)
    content = sent(bedrock_wire.encode(chat))["messages"][-1]["content"][0]["toolResult"]["content"]
    image = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    assert content == ([image, {"text": "A chart."}] if first else [{"text": "A chart."}, image])


def test_an_image_alone_has_no_blank_text_beside_it() -> None:
    content = sent(bedrock_wire.encode(asked_with(CHART)))["messages"][-1]["content"][0]["toolResult"]["content"]
    assert [list(block) for block in content] == [["image"]]


def test_gemini_gets_them_beside_the_response_from_its_third_version_on() -> None:
    chat = asked_with(TEXT, CHART)
    (part,) = sent(gemini_wire.encode(chat, stream=False, signed=True))["contents"][-1]["parts"]
    assert part["functionResponse"] == {
        "id": "c1",
        "name": "draw",
        "response": {"output": "A chart."},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}],
    }
    with pytest.raises(NotSupported, match="no images in tools' results"):
        gemini_wire.encode(chat, stream=False)


def test_a_result_without_images_is_as_before() -> None:
    (part,) = sent(gemini_wire.encode(asked_with(TEXT), stream=False, signed=True))["contents"][-1]["parts"]
    assert part["functionResponse"] == {"id": "c1", "name": "draw", "response": {"output": "A chart."}}


def test_openais_dialect_has_no_place_for_them() -> None:
    chat = asked_with(TEXT, CHART)
    for encode in (
        lambda: openai_wire.encode(chat, "up", stream=False),
        lambda: openai_wire.encode(chat, "up", stream=False, official=False),
        lambda: responses_input.encode(chat, "up"),
    ):
        with pytest.raises(NotSupported, match="no images in tools' results") as refused:
            encode()
        assert refused.value.param == "messages"


def test_images_between_texts_are_for_their_own_dialect_alone() -> None:
    chat = asked_with(TEXT, CHART, TEXT)
    assert chat.native_only == ("tool_result.image",)
    with pytest.raises(NotSupported, match=r"tool_result\.image"):
        bedrock_wire.encode(chat)
    assert sent(anthropic_wire.encode(chat, "up", stream=False, max_tokens=9))["messages"][-1]["content"][0][
        "content"
    ] == [TEXT, CHART, TEXT]


def test_the_responses_door_takes_them_too() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}
    result = {"type": "function_call_output", "call_id": CALL["call_id"], "output": [image]}
    chat = asked(input=[CALL, result]).chat
    (part,) = chat.messages[-1].parts
    assert isinstance(part, ToolResultPart)
    assert part.images == (ImagePart(data="aGk=", media_type="image/png", detail="auto"),)
    assert anthropic_wire.encode(chat, "up", stream=False, max_tokens=9)[1] == ("image_url.detail",)
    told = {"type": "input_text", "text": "A chart."}
    with pytest.raises(NotSupported, match="images between texts"):
        asked(input=[CALL, {**result, "output": [told, image, told]}])


def test_anthropic_gets_them_where_the_body_is_not_the_callers_own() -> None:
    chat = structs.replace(asked_with(TEXT, CHART), native=None)
    body = sent(anthropic_wire.encode(chat, "up", stream=False, max_tokens=9))
    assert body["messages"][-1]["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": [TEXT, CHART]}]


def test_they_count_in_what_is_reserved_and_in_what_a_model_has_to_see() -> None:
    plain, shown = asked_with(TEXT), asked_with(TEXT, CHART)
    assert input_tokens_bound(shown) >= input_tokens_bound(plain) + 3_000
    assert has_media(shown)
    assert not has_media(plain)
    assert needs_of(shown) - needs_of(plain) == {"vision"}
    words = lambda text: len(text.split())  # noqa: E731
    assert count_turn(shown.messages[-1], words)[0] > count_turn(plain.messages[-1], words)[0] + 500


def test_a_tool_that_gave_back_nothing_is_said_so_where_blank_texts_are_refused() -> None:
    content = sent(bedrock_wire.encode(asked_with()))["messages"][-1]["content"][0]["toolResult"]["content"]
    assert content == [{"text": "(nothing)"}]
