"""What the embedded model's server does not do as it should: refused, named, or counted here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.api.wire import completions, openai
from gateway.errors import NotSupported
from gateway.models.llm_models import Usage
from gateway.providers.embedded_wire import EmbeddedCompletionsWire, EmbeddedWire

WIRE = EmbeddedCompletionsWire("up")
TOLD = {"prompt_tokens": 32, "completion_tokens": 6, "total_tokens": 38}


def sent(*, stream: bool = False, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    chat = completions.decode({"model": "m", "prompt": "Once upon", **fields}).chat
    body, named = WIRE.encode(chat, stream=stream)
    return json.loads(body), named


def test_a_text_goes_on_as_it_was_asked() -> None:
    asked: dict[str, Any] = {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": [".", "!"],
        "seed": 3,
        "logit_bias": {"28": -9},
    }
    assert sent(**asked, presence_penalty=0.1) == (
        {"model": "up", "prompt": "Once upon", **asked, "presence_penalty": 0.1},
        (),
    )
    assert sent(stream=True)[0]["stream_options"] == {"include_usage": True}
    assert sent(prompt=["Once upon"], n=1, best_of=1, echo=False, suffix="")[0] == {
        "model": "up",
        "prompt": "Once upon",
        "max_tokens": 16,
    }
    assert sent(user="u")[1] == ("user",)


@pytest.mark.parametrize(
    "field", [{"n": 2}, {"best_of": 2}, {"prompt": ["a", "b"]}, {"echo": True}, {"suffix": "x"}, {"logprobs": 0}]
)
def test_what_its_server_passes_over_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(NotSupported, match="the embedded model takes no"):
        sent(**field)


@pytest.mark.parametrize(("n", "usage"), [(1, Usage(32, 6, basis="provider")), (2, Usage())])
def test_the_usage_of_several_answers_is_not_that_of_the_first(n: int, usage: Usage) -> None:
    turn = {"role": "user", "content": "Hi"}
    chat = openai.decode({"model": "m", "messages": [turn], "n": n}).chat
    wire = EmbeddedWire("up", 64)
    choices = [{"index": at, "message": {"role": "assistant", "content": "Hi"}} for at in range(n)]
    reply = wire.decode_reply(json.dumps({"id": "c", "model": "up", "choices": choices, "usage": TOLD}).encode(), chat)
    assert reply.usage == usage
    native = reply.native
    assert native is not None
    assert native.event is not None
    assert bool(native.event["usage"]) == (n == 1)
    pieces = wire.decoder(chat)({"id": "c", "model": "up", "choices": [], "usage": TOLD})
    assert [piece.usage for piece in pieces] == ([usage] if n == 1 else [])
