"""Guards on answers: schemas and their one repair, what may not be said, the cache, and what is kept nowhere."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest

from fixtures.guard_kit import CARD, DOORS, EMAIL, SECRET, STREAMING, Door, add_models, ask, data_lines, pieces, whole
from fixtures.house import Answer, House
from fixtures.upstream import answer, openai_answer
from gateway.ledger.entry import Entry, UsageFilter

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
CHAT = DOORS[0]


@pytest.fixture(autouse=True)
def models(house: House) -> None:
    add_models(house)


def entries(house: House, request_id: str) -> list[Entry]:
    found = house.core.ledger.entries(UsageFilter())[0]
    return [entry for entry in found if entry.request_id == request_id]


def structured(house: House, model: str, *, stream: bool = False, form: Any = FORM) -> Any:
    body = CHAT.body(model, "A number, please.") | {"response_format": form, "stream": stream}
    return house.ask("POST", CHAT.path, body)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_does_not_fit_is_asked_for_once_more(house: House, stream: bool) -> None:
    house.upstream.play(whole("", '{"n": "one"}'), whole("", '{"n": 1}'))
    found = structured(house, "g-schema", stream=stream)
    assert found.status == 200, found.raw
    told = STREAMING[0].pieces
    assert told is not None
    assert (told(found.raw) if stream else CHAT.text(found.body)) == '{"n": 1}'
    assert found.headers["x-gateway-guards"] == "schema=repaired(1)"
    first, second = (item.body for item in house.upstream.sent)
    assert second["messages"][0] == first["messages"][0]
    assert second["messages"][1] == {"role": "assistant", "content": '{"n": "one"}'}
    assert "at $.n" in second["messages"][2]["content"]
    assert second["response_format"] == FORM
    both = entries(house, found.headers["x-request-id"])
    assert len(both) == 2
    assert sorted(entry.cause.partition("#")[2] for entry in both) == ["", "repair"]
    if not stream:
        assert float(found.headers["x-gateway-cost-usd"]) == pytest.approx(sum(entry.cost for entry in both) / 1e10)


@pytest.mark.parametrize("door", STREAMING, ids=[door.name for door in STREAMING])
def test_the_usage_that_is_told_is_that_of_both(house: House, door: Door) -> None:
    house.upstream.play(whole("", '{"n": "one"}'), whole("", '{"n": 1}'))
    form: dict[str, dict[str, Any]] = {
        "openai": {"response_format": FORM},
        "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        "responses": {"text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}}},
    }
    found = house.ask("POST", door.path, door.body("g-schema", "A number, please.") | form[door.name])
    assert found.status == 200, found.raw
    both = entries(house, found.headers["x-request-id"])
    assert len(both) == 2
    told = found.body["usage"]
    sent, written = sum(entry.input_tokens for entry in both), sum(entry.output_tokens for entry in both)
    # Anthropic's dialect counts what came from its cache apart.
    given = told.get("prompt_tokens", told.get("input_tokens", 0) + told.get("cache_read_input_tokens", 0))
    assert (given, sent > 0) == (sent, True)
    assert told.get("completion_tokens", told.get("output_tokens")) == written
    assert told.get("total_tokens", sent + written) == sent + written


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_an_answer_and_not_asked_for_again(house: House, stream: bool) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot say."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    house.upstream.play(answer(openai_answer(choices=[choice])))
    found = structured(house, "g-schema", stream=stream)
    assert found.status == 200, found.raw
    assert len(house.upstream.sent) == 1
    assert len(entries(house, found.headers["x-request-id"])) == 1
    if stream:
        said = [event["choices"][0]["delta"] for event in data_lines(found.raw) if event["choices"]]
        assert "".join(piece.get("refusal") or "" for piece in said) == "I cannot say."
        assert not any(piece.get("content") for piece in said)
    else:
        assert found.body["choices"][0]["message"]["refusal"] == "I cannot say."
        assert not found.body["choices"][0]["message"]["content"]


def test_what_does_not_fit_twice_is_refused_and_paid_for(house: House) -> None:
    house.upstream.play(whole("", "no JSON at all"))
    found = structured(house, "g-schema")
    assert (found.status, found.body["error"]["code"]) == (400, "guard_blocked")
    assert found.headers["x-should-retry"] == "false"
    assert len(house.upstream.sent) == 2
    assert len(entries(house, found.headers["x-request-id"])) == 2


def test_both_answers_count_against_the_limit_of_tokens(house: House) -> None:
    key = house.key("developer", tokens_per_minute=1_000_000)
    body = CHAT.body("g-schema", "A number, please.") | {"response_format": FORM}
    house.upstream.play(whole("", "{}"), whole("", '{"n": 1}'))
    left = [int(house.ask("POST", CHAT.path, body, key=key).headers["x-ratelimit-remaining-tokens"]) for _ in "abc"]
    assert len(house.upstream.sent) == 4, "only the first was repaired"
    repaired, once = left[0] - left[1], left[1] - left[2]
    assert repaired == 2 * once > 0


def test_a_failed_repair_leaves_the_first_verdict(house: House) -> None:
    house.upstream.play(whole("", "{}"), answer({"error": {"message": "bad key"}}, 401))
    found = structured(house, "g-schema")
    assert (found.status, found.body["error"]["code"]) == (400, "guard_blocked")


def test_a_flag_lets_it_pass_without_a_second_call(house: House) -> None:
    house.upstream.play(whole("", "{}"))
    found = structured(house, "g-schema-flag")
    assert CHAT.text(found.body) == "{}"
    assert found.headers["x-gateway-guards"] == "schema=flag"
    assert len(house.upstream.sent) == 1


def test_a_schema_that_is_none_is_refused_before_any_call(house: House) -> None:
    house.upstream.play(whole("", "{}"))
    for schema in ({"type": "zonk"}, {"$ref": "http://127.0.0.1:9/schema"}, {"$ref": "file:///etc/hostname"}):
        found = structured(
            house, "g-schema", form={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        )
        assert (found.status, found.body["error"]["param"]) == (400, "response_format")
    assert house.upstream.sent == []


def test_any_object_will_do_where_no_schema_is_named(house: House) -> None:
    house.upstream.play(whole("", '{"a": [1]}'))
    assert structured(house, "g-schema", form={"type": "json_object"}).status == 200
    assert structured(house, "g-schema", form={"type": "text"}).status == 200


# -- what an answer may say -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["g-out", "g-out-claude"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_personal_data_in_an_answer_is_taken_out(house: House, door: Door, model: str) -> None:
    text = f"Ask {EMAIL}, card {CARD}, born on 12.03.1980."
    safe = "Ask [EMAIL], card [CARD], born on [BIRTH_DATE]."
    house.upstream.play(whole(model, text))
    found = ask(house, door, model, "Whom?")
    assert door.text(found.body) == safe
    assert found.headers["x-gateway-guards"] == "pii=redacted(3)"
    if door.pieces is not None:
        for size in (1, 5, 100):
            house.upstream.play(pieces(model, *(text[at : at + size] for at in range(0, len(text), size))))
            assert door.pieces(ask(house, door, model, "Whom?", stream=True).raw) == safe


@pytest.mark.parametrize("door", STREAMING, ids=lambda door: door.name)
def test_a_stream_that_says_what_it_may_not_ends_in_an_explicit_error(house: House, door: Door) -> None:
    house.upstream.play(pieces("g-ban", "This is a forb", "idden wo", "rd, you know.", " And more."))
    found = ask(house, door, "g-ban", "Say it.", stream=True)
    assert found.status == 200
    assert door.pieces is not None
    assert door.pieces(found.raw) == "This is a forbidden wo"
    text = found.raw.decode()
    assert "guard_blocked" in text
    assert "[DONE]" not in text
    last = data_lines(found.raw)[-1]
    assert {"openai": "error" in last, "anthropic": last.get("type") == "error", "responses": True}[door.name]
    (entry,) = entries(house, found.headers["x-request-id"])
    assert entry.outcome == "guard_blocked"
    assert entry.cost > 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_begins_with_it_is_refused_outright(house: House, stream: bool) -> None:
    house.upstream.play(pieces("", "Forbidden word") if stream else whole("", "Forbidden word"))
    found = ask(house, CHAT, "g-ban", "Say it.", stream=stream)
    assert (found.status, found.body["error"]["code"]) == (400, "guard_blocked")
    (entry,) = entries(house, found.headers["x-request-id"])
    assert entry.outcome == "guard_blocked"
    assert entry.cost > 0


def test_a_stream_with_parts_that_no_guard_can_read_is_refused(house: House) -> None:
    house.upstream.play(pieces("", "x"))
    body = CHAT.body("g-out", "hi") | {"stream": True, "logprobs": True}
    found = house.ask("POST", CHAT.path, body)
    assert (found.status, found.body["error"]["param"]) == (400, "logprobs")


# -- the cache ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_answer_has_placeholders_and_is_restored_for_each(house: House, stream: bool) -> None:
    told = pieces("", "Mail [EM", "AIL_1] now") if stream else whole("", "Mail [EMAIL_1] now")
    house.upstream.play(told)

    def text(found: Answer) -> str:
        return CHAT.pieces(found.raw) if stream and CHAT.pieces is not None else CHAT.text(found.body)

    first = ask(house, CHAT, "g-cached", f"Whom at {stream}? a@one.example", stream=stream)
    assert text(first) == "Mail a@one.example now"
    other = ask(house, CHAT, "g-cached", f"Whom at {stream}? b@two.example", stream=stream)
    assert other.headers["x-gateway-cache"] == "hit"
    assert text(other) == "Mail b@two.example now"
    two = ask(house, CHAT, "g-cached", f"Whom at {stream}? a@one.example a@one.example", stream=stream)
    assert two.headers["x-gateway-cache"] == "miss"
    assert len(house.upstream.sent) == 2
    kept = msgspec.json.encode([value for _, _, value in house.services.chat._cache._kept.values()])
    assert b"EMAIL_1" in kept
    assert b"one.example" not in kept


# -- nowhere --------------------------------------------------------------------------------------


def test_what_was_taken_out_is_in_no_log_record_ledger_metric_or_cache(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = f"My key {SECRET} and mail canary.value@secret.example: why?"
    for door in DOORS:
        for stream in (False, True) if door.pieces is not None else (False,):
            house.upstream.play(pieces("", "Ah [API_KEY", "_1] [EMAIL_1]") if stream else whole("", "Ah [API_KEY_1]"))
            found = ask(house, door, "g-hidden", text, stream=stream, **{"x-gateway-cache": "60"})
            assert SECRET in (door.pieces(found.raw) if stream and door.pieces else door.text(found.body))
        house.upstream.play(answer({"error": {"message": "no: [EMAIL_1]"}}, 400))
        assert ask(house, door, "g-hidden", text).status == 400
        ask(house, door, "g-secrets", text)
    kept = [caplog.text, house.ask("GET", "/metrics").raw.decode(), json.dumps(house.ask("GET", "/stats").body)]
    kept.append(msgspec.json.encode([v for _, _, v in house.services.chat._cache._kept.values()]).decode())
    with house.core.database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        tables = {name: str(connection.exec_driver_sql(f'SELECT * FROM "{name}"').all()) for name in names}
    assert "guard_blocked" in str(tables)
    for canary in (SECRET, "canary0123456789", "canary.value@secret", "secret.example"):
        assert [at for at, text in enumerate(kept) if canary in text] == []
        assert [name for name, rows in tables.items() if canary in rows] == []
    assert house.core.audit.find()[0]
