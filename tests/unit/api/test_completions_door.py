"""``/v1/completions``: a text goes on, where a backend has it; on the same path as every other call."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from fixtures.house import Answer, House
from fixtures.upstream import answer, events

PATH = "/v1/completions"
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def told(*texts: str, finish: str = "length") -> dict[str, Any]:
    """A whole answer as OpenAI writes it."""
    choices = [{"text": text, "index": at, "logprobs": None, "finish_reason": finish} for at, text in enumerate(texts)]
    base = {"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": "good-0914"}
    return {**base, "choices": choices, "usage": USAGE, "system_fingerprint": "fp_1"}


def chunk(text: str, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return {**told(), "choices": [choice], "usage": None}


def ask(house: House, key: str | None = None, **body: Any) -> Answer:
    return house.ask(
        "POST", PATH, {"model": "t-good", "prompt": "Once upon", **body}, key=key or house.key("developer")
    )


def test_the_official_sdk_goes_on_with_a_text(house: House) -> None:
    house.upstream.play(answer(told(" a time")))
    client = openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.key("developer"), max_retries=0)
    made = client.completions.create(
        model="t-good",
        prompt="Once upon",
        max_tokens=7,
        echo=False,
        logprobs=2,
        suffix=" end",
        temperature=0.1,
        stop=".",
    )
    assert (made.choices[0].text, made.model, made.object) == (" a time", "t-good", "text_completion")
    assert made.usage is not None
    assert made.usage.total_tokens == 12
    (sent,) = house.upstream.sent
    assert sent.path == "/v1/completions"
    assert sent.body == {
        "model": "good",
        "prompt": "Once upon",
        "max_tokens": 7,
        "echo": False,
        "logprobs": 2,
        "suffix": " end",
        "temperature": 0.1,
        "stop": ".",
    }


def test_a_stream_of_pieces(house: House) -> None:
    last = {**told(), "choices": [], "usage": USAGE}
    house.upstream.play(events(chunk(" a"), chunk(" time"), chunk("", "stop"), last))
    client = openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.key("developer"), max_retries=0)
    stream = client.completions.create(
        model="t-good", prompt=["Once upon"], max_tokens=7, stream=True, stream_options={"include_usage": True}
    )
    pieces = list(stream)
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == " a time"
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices] == [None, None, "stop"]
    assert {piece.model for piece in pieces} == {"t-good"}
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == 7
    assert house.upstream.sent[0].body["stream_options"] == {"include_usage": True}


def test_usage_is_not_told_in_a_stream_that_did_not_ask(house: House) -> None:
    house.upstream.play(events(chunk(" a", "stop"), {**told(), "choices": [], "usage": USAGE}))
    lines = ask(house, stream=True).raw.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert [json.loads(line[6:]).get("usage") for line in lines[:-2]] == [None]


def test_a_call_costs_what_the_provider_counts(house: House) -> None:
    house.upstream.play(answer(told(" a time")))
    key = house.key("developer", principal="goes-on")
    found = ask(house, key)
    assert found.headers["x-gateway-cost-usd"] == "0.00026"  # 5 x 10 + 7 x 30 USD a million
    (row,) = house.until(lambda: house.ask("GET", "/usage?by=model&principal=goes-on").body["rows"], bool)
    assert (row["calls"], row["input_tokens"], row["output_tokens"]) == (1, 5, 7)


def test_what_is_reserved_covers_every_prompt_and_every_try(house: House) -> None:
    house.upstream.play(answer(told(" a", " b")))
    wished = {"name": "short", "role": "developer", "budget": {"limit_usd": "0.05", "window": "day"}}
    key = house.ask("POST", "/keys", wished).body["key"]
    wide = ask(house, key, prompt=["a", "b"], n=2, best_of=20, max_tokens=100)
    assert wide.status == 402, wide.body  # 2 x 20 x 100 x 30 USD a million
    assert house.upstream.sent == []
    assert ask(house, key, prompt=["a", "b"], n=2, best_of=2, max_tokens=100).status == 200


def test_the_answer_is_short_where_nothing_is_said(house: House) -> None:
    house.upstream.play(answer(told(" a")))
    assert ask(house).status == 200
    assert house.upstream.sent[0].body["max_tokens"] == 16


def test_who_has_no_such_api_is_not_asked(house: House) -> None:
    house.upstream.play(answer(told(" a")))
    for model in ("t-claude", "t-gemini", "t-bedrock"):
        found = ask(house, model=model)
        assert found.status == 400, found.body
        assert "no older completions" in found.body["error"]["message"]
    assert house.upstream.sent == []


def test_azure_has_it_by_deployment(house: House) -> None:
    house.upstream.play(answer(told(" a")))
    assert ask(house, model="t-azure").status == 200
    assert house.upstream.sent[0].path == "/azure/openai/deployments/gpt-4o/completions"


def test_a_repeated_request_is_answered_once(house: House) -> None:
    house.upstream.play(answer(told(" a")))
    key, body = house.key("developer"), {"model": "t-good", "prompt": "Once upon"}
    answers = [house.ask("POST", PATH, body, key=key, headers={"idempotency-key": "one-story"}) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert len(house.upstream.sent) == 1


def test_an_error_of_the_provider_is_told_in_the_doors_words(house: House) -> None:
    house.upstream.play(answer({"error": {"message": "no such model", "type": "invalid_request_error"}}, 404))
    found = ask(house)
    assert found.status == 400
    assert found.body["error"]["details"]["upstream_status"] == 404
    house.upstream.play(answer({"id": "cmpl-1"}))
    assert ask(house).status == 502


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_guarded_text_comes_back_whole(house: House, size: int) -> None:
    """What a placeholder stands for is restored, whole or in a stream that is cut anywhere."""
    email, said = "ada@example.org", " to [EMAIL_1], and so on"
    house.upstream.play(answer(told(said)))
    found = ask(house, model="t-guarded", prompt=f"Write to {email}", suffix=f" from {email}")
    assert found.body["choices"][0]["text"] == f" to {email}, and so on"
    sent = house.upstream.sent[0].body
    assert (sent["prompt"], sent["suffix"]) == ("Write to [EMAIL_1]", " from [EMAIL_1]")
    pieces = [chunk(said[at : at + size]) for at in range(0, len(said), size)]
    house.upstream.play(events(*pieces, chunk("", "stop"), {**told(), "choices": [], "usage": USAGE}))
    raw = ask(house, model="t-guarded", prompt=f"Write to {email}", stream=True).raw.decode()
    lines = [json.loads(line[6:]) for line in raw.split("\n\n") if line.startswith("data: {")]
    assert "".join(line["choices"][0]["text"] for line in lines) == f" to {email}, and so on"
    assert email not in str(house.upstream.sent[0].body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 128, "prompt": ["a", "b"]}, "n"),
        ({"best_of": 21}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"echo": "yes"}, "echo"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"model": ""}, "model"),
        ({"stream": 1}, "stream"),
    ],
)
def test_a_bad_request_names_its_field(house: House, body: dict[str, Any], param: str) -> None:
    found = ask(house, **body)
    assert found.status == 400, found.body
    assert found.body["error"]["param"] == param
