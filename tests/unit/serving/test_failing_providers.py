"""What callers see of providers that fail, through the whole gateway: waits, repeats, takes over, or says so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest

from fixtures.fault_server import (
    HANG,
    RESET,
    FaultServer,
    Repeat,
    Script,
    begun,
    bomb,
    chunk,
    event,
    head,
    running_fault_server,
    whole,
)
from fixtures.house import Answer, House
from fixtures.upstream import anthropic_answer, anthropic_events, openai_answer, openai_chunks
from gateway.serving import failover

PROVIDERS = """
  f-openai:
    {{type: openai_compatible, base_url: "{url}/v1", api_key: none, timeouts: {{first_byte: 0.5, idle: 0.5}}}}
  f-anthropic:
    {{type: anthropic, base_url: "{url}", api_key: sk-test, timeouts: {{first_byte: 0.5, idle: 0.5}}}}
"""
MODELS = """
  f-one: {type: llm, provider: f-openai, upstream_model: one, price: {input_per_million: 0}}
  f-two: {type: llm, provider: f-openai, upstream_model: two, price: {input_per_million: 0}}
  f-claude: {type: llm, provider: f-anthropic, upstream_model: claude, price: {input_per_million: 0}}
  f-both: {type: llm, route: {strategy: priority, deployments: [f-one, f-two]}}
"""
GOOD: Script = [whole(openai_answer("Well."))]
STREAM: Script = [begun(*openai_chunks("We", "ll."), b"[DONE]") + chunk(b"")]
HALF = openai_chunks("We", finish=None, usage=False)
DOORS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50},
    "/v1/responses": {"input": "Hello"},
}


@contextmanager
def failing(house: House, providers: str = PROVIDERS) -> Iterator[FaultServer]:
    """A provider of the gateway that fails as told."""
    folder = house.core.settings.config_dir
    files = {name: (folder / name).read_text() for name in ("providers.yaml", "models.yaml")}
    with running_fault_server() as server:
        (folder / "providers.yaml").write_text(files["providers.yaml"] + providers.format(url=server.url))
        before, mark, after = files["models.yaml"].partition("# The model of a task type that names none.")
        (folder / "models.yaml").write_text(before + MODELS + mark + after)
        assert house.core.catalogue.refresh(), house.core.catalogue.last_error
        yield server
        for name, text in files.items():
            (folder / name).write_text(text)
        house.core.catalogue.refresh()


@pytest.fixture(scope="module")
def provider(house: House) -> Iterator[FaultServer]:
    with failing(house) as server:
        yield server


class Waits:
    """Stands for the modules ``asyncio`` and ``time`` where pauses are made: they pass at once, and are told."""

    def __init__(self, provider: FaultServer) -> None:
        self._provider = provider
        self.slept: list[tuple[int, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        self.slept.append((len(self._provider.asked), seconds))

    def monotonic(self) -> float:
        return sum(seconds for _, seconds in self.slept)


@pytest.fixture
def waits(provider: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits(provider)
    monkeypatch.setattr(failover, "asyncio", made)
    monkeypatch.setattr(failover, "time", made)
    return made


def ask(house: House, model: str, path: str = "/v1/chat/completions", **fields: Any) -> Answer:
    headers = fields.pop("headers", {})
    for name in ("f-one", "f-two", "f-claude"):
        house.core.health.succeeded(name)  # what an earlier test did to it is forgiven
    key = house.key("developer", team="manners")
    return house.ask("POST", path, {"model": model, **DOORS[path], **fields}, key=key, headers=headers)


def asked(provider: FaultServer) -> list[str]:
    """The upstream models that were called, in order."""
    return [json.loads(request.body)["model"] for request in provider.asked]


def outcome(house: House) -> str:
    """How the newest entry of the ledger says that its call ended."""
    return str(house.ask("GET", "/usage/entries?limit=1").body["entries"][0]["outcome"])


def refusal(status: int, **headers: str) -> Script:
    return [whole({"error": {"message": "not now", "type": "x", "code": "x"}}, status, **headers)]


@pytest.mark.parametrize("status", [429, 500, 503, 529])
@pytest.mark.parametrize("said", ["seconds", "date", "milliseconds"])
def test_a_provider_that_says_when_is_asked_again_then(
    house: House, provider: FaultServer, waits: Waits, status: int, said: str
) -> None:
    header = {
        "seconds": {"retry_after": "2"},
        "date": {"retry_after": formatdate(time.time() + 4, usegmt=True)},
        "milliseconds": {"retry_after_ms": "2000", "retry_after": "9"},
    }[said]
    provider.play(refusal(status, **header), GOOD)
    found = ask(house, "f-both")
    assert found.status == 200
    assert asked(provider) == ["one", "one"]
    assert 1.8 <= waits.slept[0][1] <= 4
    assert found.headers["x-gateway-attempts"] == "2"


def test_who_says_later_than_a_caller_can_wait_is_left(house: House, provider: FaultServer, waits: Waits) -> None:
    provider.play(refusal(429, retry_after="60"), GOOD)
    assert ask(house, "f-both").status == 200
    assert asked(provider) == ["one", "two"]
    assert waits.slept == []


def test_who_says_nothing_is_asked_again_after_a_moment(house: House, provider: FaultServer, waits: Waits) -> None:
    provider.play(refusal(429), refusal(529), GOOD)
    assert ask(house, "f-both").status == 200
    assert asked(provider) == ["one", "one", "one"]
    assert 0 < waits.slept[0][1] < waits.slept[1][1] < 1


def test_where_all_fail_there_are_six_attempts_and_four_in_three_seconds(
    house: House, provider: FaultServer, waits: Waits
) -> None:
    provider.play(refusal(500))
    found = ask(house, "f-both")
    assert (found.status, found.body["error"]["code"]) == (502, "upstream_error")
    assert asked(provider) == ["one"] * 3 + ["two"] * 3
    for first in (1, 2):
        assert sum(seconds for number, seconds in waits.slept if first <= number < first + 4) >= 3


@pytest.mark.parametrize("fault", [refusal(500), [RESET], [head(500)[:9], RESET], refusal(502)])
def test_one_failure_is_the_same_deployments_to_mend(
    house: House, provider: FaultServer, waits: Waits, fault: Script
) -> None:
    provider.play(fault, GOOD)
    assert ask(house, "f-both").status == 200
    assert asked(provider) == ["one", "one"]
    provider.play(fault, STREAM)
    assert b"ll." in ask(house, "f-both", stream=True).raw
    assert asked(provider) == ["one", "one"]


@pytest.mark.parametrize("silent", [[HANG], [head(content_type="text/event-stream")[:-2], HANG], [begun(), HANG]])
def test_who_gives_no_first_token_is_left(house: House, provider: FaultServer, silent: Script) -> None:
    provider.play(silent, STREAM)
    assert b"ll." in ask(house, "f-both", stream=True).raw
    assert asked(provider) == ["one", "two"], "it may be working still: it is never asked twice"
    provider.play(silent)
    found = ask(house, "f-one", stream=True)
    assert (found.status, found.body["error"]["code"]) == (504, "upstream_timeout")
    assert len(provider.asked) == 1


def test_who_gives_no_answer_is_left(house: House, provider: FaultServer) -> None:
    provider.play([HANG], GOOD)
    assert ask(house, "f-both").body["choices"][0]["message"]["content"] == "Well."
    assert asked(provider) == ["one", "two"]


def failure(path: str, raw: bytes) -> dict[str, Any]:
    """The error event of a stream, which is its last."""
    events = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ")]
    last: dict[str, Any] = json.loads(events[-1])
    if path == "/v1/responses":
        assert last["type"] == "response.failed"
        error: dict[str, Any] = last["response"]["error"]
        return {"code": error["type"], **last}
    if path == "/v1/messages":
        assert last["type"] == "error"
    return dict(last["error"])


@pytest.mark.parametrize("path", DOORS)
def test_silence_in_mid_stream_is_told_by_its_own_name(house: House, provider: FaultServer, path: str) -> None:
    provider.play([begun(*HALF), HANG])
    found = ask(house, "f-both", path, stream=True)
    assert found.status == 200
    assert b"We" in found.raw
    told = failure(path, found.raw)
    assert "silent" in json.dumps(told)
    assert asked(provider) == ["one"], "after the first words nobody takes over"
    assert outcome(house) == "upstream_timeout"
    assert provider.left.wait(5)


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("end", [chunk(b""), chunk(event(b"[DONE]")) + chunk(b"")])
def test_a_stream_without_a_finish_reason_is_an_error_and_never_kept(
    house: House, provider: FaultServer, path: str, end: bytes
) -> None:
    provider.play([begun(*HALF) + end])
    for _ in range(2):
        found = ask(house, "f-one", path, stream=True, headers={"x-gateway-cache": "60"})
        assert "finish reason" in json.dumps(failure(path, found.raw))
        assert b"[DONE]" not in found.raw
        assert outcome(house) == "stream_incomplete"
    assert len(provider.asked) == 2, "each time it was asked anew"


def test_of_a_messages_provider_too(house: House, provider: FaultServer) -> None:
    named = b"".join(
        chunk(f"event: {item['type']}\n".encode() + event(item)) for item in anthropic_events("We", end=False)
    )
    provider.play([begun() + named + chunk(b"")])
    found = ask(house, "f-claude", "/v1/messages", stream=True)
    assert "finish reason" in json.dumps(failure("/v1/messages", found.raw))
    assert outcome(house) == "stream_incomplete"
    provider.play([RESET], [whole(anthropic_answer("Well."))])
    assert ask(house, "f-claude", "/v1/messages").body["content"][0]["text"] == "Well."


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("cut", [b"", b"6\r\ndata:", b"zz\r\n"])
def test_a_line_that_breaks_in_mid_stream_is_told(house: House, provider: FaultServer, path: str, cut: bytes) -> None:
    provider.play([begun(*HALF), cut, RESET])
    told = failure(path, ask(house, "f-both", path, stream=True).raw)
    assert "provider" in json.dumps(told)
    assert outcome(house) == "upstream_unavailable"


@pytest.mark.parametrize("bad", [b"{nonsense", b"3", b"\xff\xfe", b'{"choices": 7}', b'{"choices": [{"delta": 7}]}'])
def test_a_malformed_event_is_passed_over(house: House, provider: FaultServer, bad: bytes) -> None:
    first, *rest = openai_chunks("We", "ll.")
    provider.play([begun(first, bad, *rest, b"[DONE]") + chunk(b"")])
    found = ask(house, "f-one", stream=True)
    texts = [
        choice["delta"].get("content") or ""
        for line in found.raw.decode().splitlines()
        if line.startswith("data: {")
        for choice in json.loads(line[6:])["choices"]
    ]
    assert "".join(texts) == "Well."
    assert found.raw.endswith(b"data: [DONE]\n\n")
    assert outcome(house) == "completed"


@pytest.mark.parametrize("end", [HANG, RESET])
def test_an_answer_with_its_finish_reason_needs_no_end_mark(house: House, provider: FaultServer, end: Any) -> None:
    provider.play([begun(*openai_chunks("Well.")), end])
    found = ask(house, "f-both", stream=True)
    assert found.raw.endswith(b"data: [DONE]\n\n")
    assert asked(provider) == ["one"]
    assert outcome(house) == "completed"


PAGE = b"<html><body>Bad gateway</body></html>"


@pytest.mark.parametrize(
    "script",
    [
        [whole(PAGE, 502, content_type="text/html")],
        [whole(PAGE, content_type="text/html")],
        [whole({"error": {"message": "out of order"}})],
        [whole(bomb(100_000_000), content_encoding="gzip")],
        [head(content_length="104857600", content_type="application/json"), Repeat(b"x" * 65536, 1600)],
        [b"garbage\r\n\r\n"],
    ],
    ids=["page", "page as an answer", "error as an answer", "bomb", "100 MB", "garbage"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_answer_is_an_error_and_the_next_is_asked(
    house: House, provider: FaultServer, waits: Waits, script: Script, stream: bool
) -> None:
    provider.play(script, script, script, STREAM if stream else GOOD)
    found = ask(house, "f-both", stream=stream)
    assert found.status == 200
    assert asked(provider)[-1] == "two"
    provider.play(script)
    found = ask(house, "f-one", stream=stream)
    assert found.status == 502
    assert b"<html" not in found.raw
