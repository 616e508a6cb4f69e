"""The story of a chat: what it reserves, settles and records, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest

from fixtures.house import House
from fixtures.upstream import Play, answer, anthropic_answer, events, openai_answer, openai_chunks
from gateway.bootstrap import make_serving
from gateway.errors import (
    BudgetExceeded,
    GatewayError,
    ModelNotFound,
    NotSupported,
    PermissionDenied,
    StreamIncomplete,
    Unavailable,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamTimeout,
    ValidationFailed,
)
from gateway.ids import new_id
from gateway.ledger.entry import Entry, UsageFilter
from gateway.ledger.intents import Opened, decode_line
from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Message, TextPart, Tool, Usage
from gateway.registry.catalogue import Catalogue, Timeouts
from gateway.security.access import Caller, caller_for
from gateway.serving.answer_cache import AnswerCache
from gateway.serving.chat import ChatService
from gateway.serving.semantic_cache import SemanticCache
from gateway.serving.tokens import TokenService
from gateway.store.journal_folder import lines_of

HELLO = Chat("gpt-4", (Message("user", (TextPart("Hello"),)),))
Result = TypeVar("Result")


def changed(**fields: Any) -> Chat:
    return msgspec.structs.replace(HELLO, **fields)


def somebody(**fields: Any) -> Caller:
    """A caller nobody else is, so that their entries stand alone."""
    return caller_for(new_id("user"), "developer", **fields)


def circumstances() -> CallContext:
    return CallContext(request_id=new_id("req"), cause=new_id("call"), door="test")


def with_chat(house: House, work: Callable[[ChatService], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        serving = make_serving(house.core)
        try:
            return await work(serving.chat)
        finally:
            await serving.transport.close()

    return asyncio.run(run())


def complete(house: House, caller: Caller, chat: Chat = HELLO) -> Any:
    return with_chat(house, lambda service: service.complete(caller, chat, circumstances()))


def entries(house: House, caller: Caller) -> list[Entry]:
    return house.core.ledger.entries(UsageFilter(principal=caller.principal))[0]


def held(house: House, caller: Caller) -> int:
    """Holds of the caller that nobody ended: intents in the journals without an end."""
    folder = house.core.settings.data_dir / "journal"
    open_calls: set[str] = set()
    for lock in folder.glob("*.lock"):
        for _, line in lines_of(folder, lock.stem):
            record = decode_line(line)
            if not isinstance(record, Opened):
                open_calls.discard(record.hold_id)
            elif record.charge.principal == caller.principal:
                open_calls.add(record.hold_id)
    return len(open_calls)


def test_a_call_is_charged_by_what_the_provider_counted(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    me = somebody()
    found = complete(house, me)
    (entry,) = entries(house, me)
    card = card_for_llm("gpt-4", "openai", "", None, house.core.clock.now())
    assert entry.cost == cost_llm(card, Usage(11, 3, 4, 0, 1, "provider")) == found.meta.cost
    assert (entry.basis, entry.outcome, entry.price_card) == ("provider", "completed", card.name)
    assert held(house, me) == 0


def test_a_priced_call_always_names_its_bound(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    complete(house, somebody(), changed(model="gpt-4o"))
    assert house.upstream.sent[0].body["max_tokens"] > 0


def test_the_models_own_parameters_stand_in_for_what_is_not_said(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    complete(house, somebody())
    assert house.upstream.sent[0].body["temperature"] == 0.7
    house.upstream.play(answer(openai_answer()))
    complete(house, somebody(), changed(temperature=0.0, max_tokens=7))
    assert house.upstream.sent[0].body["temperature"] == 0.0
    assert house.upstream.sent[0].body["max_tokens"] == 7


@pytest.mark.parametrize(
    ("model", "basis", "output"), [("gpt-4", "counted", 50), ("t-mistral", "estimated", 100)], ids=["known", "unknown"]
)
def test_an_answer_without_usage_is_counted_or_estimated_and_says_so(
    house: House, model: str, basis: str, output: int
) -> None:
    """A model whose table is known is counted by it: 400 times x are 50 of its tokens."""
    house.upstream.play(answer(openai_answer("x" * 400, usage=None)))
    me = somebody()
    complete(house, me, changed(model=model))
    (entry,) = entries(house, me)
    assert (entry.basis, entry.output_tokens) == (basis, output)
    assert entry.input_tokens > 0


@pytest.mark.parametrize(
    ("chat", "fields", "kind"),
    [
        (changed(model="gpt-9"), {}, ModelNotFound),
        (HELLO, {"models": ("claude-*",)}, ModelNotFound),
        (changed(model="risk-classifier"), {}, NotSupported),
        (changed(messages=()), {}, ValidationFailed),
        (changed(model="claude-3-sonnet", n=2), {}, NotSupported),
        (changed(model="smollm2", tools=(Tool("f"),)), {}, NotSupported),
    ],
)
def test_what_is_refused_costs_nothing(
    house: House, chat: Chat, fields: dict[str, Any], kind: type[GatewayError]
) -> None:
    house.upstream.play(answer(openai_answer()))
    me = somebody(**fields)
    with pytest.raises(kind):
        complete(house, me, chat)
    assert house.upstream.sent == []
    assert entries(house, me) == []
    assert held(house, me) == 0


def test_a_viewer_may_not_call(house: House) -> None:
    with pytest.raises(PermissionDenied):
        complete(house, caller_for("v", "viewer"))


def test_a_refusal_of_the_provider_gives_the_reservation_back(house: House) -> None:
    house.upstream.play(answer({"error": {"message": "no"}}, 400))
    me = somebody()
    with pytest.raises(UpstreamError):
        complete(house, me)
    assert sum(entry.cost for entry in entries(house, me)) == 0
    assert held(house, me) == 0


def test_an_outcome_nobody_knows_is_charged_by_estimate(house: House) -> None:
    """The provider may have worked: the connection broke after it took the request."""
    house.upstream.play(Play(200, [b'{"choices"'], break_off=True))
    me = somebody()
    with pytest.raises(UpstreamError):
        complete(house, me)
    found = entries(house, me)
    assert found
    assert all(entry.basis == "estimated" and entry.outcome != "completed" for entry in found)
    assert all(entry.cost > 0 for entry in found)
    assert held(house, me) == 0


def test_retries_are_charged_once(house: House) -> None:
    busy = answer({"error": {"message": "busy"}}, 503)
    house.upstream.play(busy, busy, answer(openai_answer()))
    me = somebody()
    found = complete(house, me)
    assert found.meta.attempts == 3
    assert len([entry for entry in entries(house, me) if entry.cost > 0]) == 1
    house.upstream.play(busy)
    with pytest.raises(UpstreamOverloaded):
        complete(house, me)
    assert len(house.upstream.sent) == 3, "as often as the provider's row says"


def test_a_fallback_answers_and_is_named(house: House) -> None:
    catalogue = house.core.catalogue.current
    models = {**catalogue.models}
    models["gpt-4"] = msgspec.structs.replace(models["gpt-4"], fallbacks=("claude-3-sonnet",))
    with_fallback = msgspec.structs.replace(catalogue, models=models)
    house.upstream.play(answer({"error": {"message": "bad key"}}, 401), answer(anthropic_answer("From afar")))
    me = somebody()
    found = with_catalogue(house, with_fallback, me)
    assert found.reply.text() == "From afar"
    assert (found.meta.model, found.meta.provider, found.meta.attempts) == ("claude-3-sonnet", "anthropic", 2)
    charged = [entry for entry in entries(house, me) if entry.cost > 0]
    assert [entry.model for entry in charged] == ["claude-3-sonnet"]
    house.upstream.play(answer({"error": {"message": "bad key"}}, 401))
    with pytest.raises(UpstreamError):
        with_catalogue(house, with_fallback, somebody(models=("gpt-4",)))
    assert len(house.upstream.sent) == 1, "the key may not use the fallback"


def with_catalogue(house: House, catalogue: Catalogue, caller: Caller, chat: Chat = HELLO) -> Any:
    async def run() -> Any:
        serving = make_serving(house.core)
        service = ChatService(
            lambda: catalogue,
            serving.chat._path.deployments,
            house.core.accounts,
            house.core.limits,
            house.core.health,
            AnswerCache(house.core.clock),
            TokenService(house.core.tokenizers),
            SemanticCache(house.core.clock, serving.embed),
            house.core.learner.standings,
        )
        try:
            return await service.complete(caller, chat, circumstances())
        finally:
            await serving.transport.close()

    return asyncio.run(run())


def test_a_provider_that_is_silent_is_a_timeout_and_not_asked_again(house: House) -> None:
    catalogue = house.core.catalogue.current
    quick = Timeouts(connect=1, first_byte=0.3, idle=0.3, total=2)
    providers = {
        **catalogue.providers,
        "openai": msgspec.structs.replace(catalogue.providers["openai"], timeouts=quick),
    }
    house.upstream.play(Play(200, hang=3))
    me = somebody()
    with pytest.raises(UpstreamTimeout):
        with_catalogue(house, msgspec.structs.replace(catalogue, providers=providers), me)
    assert len(house.upstream.sent) == 1
    assert held(house, me) == 0


def test_a_stream_is_charged_when_it_ends(house: House) -> None:
    house.upstream.play(events(*openai_chunks("Hel", "lo")))
    me = somebody()

    async def read(service: ChatService) -> str:
        stream = await service.stream(me, HELLO, circumstances())
        return "".join([piece.text async for piece in stream])

    assert with_chat(house, read) == "Hello"
    (entry,) = entries(house, me)
    assert (entry.input_tokens, entry.output_tokens, entry.outcome) == (11, 3, "completed")


@pytest.mark.parametrize("finished", [False, True])
def test_a_stream_that_is_left_or_breaks_is_charged_by_what_came(house: House, finished: bool) -> None:
    pieces = openai_chunks("x" * 400, finish=None, usage=False)
    house.upstream.play(events(*pieces, done=False, hang=0 if finished else 20))
    me = somebody()

    async def leave(service: ChatService) -> None:
        stream = await service.stream(me, HELLO, circumstances())
        async for piece in stream:
            if piece.text and not finished:
                break
        await stream.aclose()

    if finished:
        with pytest.raises(StreamIncomplete):
            with_chat(house, leave)
    else:
        with_chat(house, leave)
        assert house.upstream.hung_up.wait(5)
    (entry,) = entries(house, me)
    assert (entry.basis, entry.output_tokens) == ("counted", 50)
    assert entry.outcome == ("stream_incomplete" if finished else "cancelled")
    assert held(house, me) == 0


@pytest.mark.parametrize("whole", [False, True])
def test_without_a_table_it_is_charged_by_estimate(house: House, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing to count by never hides how the call ended."""

    def missing(encoding: str) -> bytes:
        raise Unavailable(f"no table {encoding}")

    monkeypatch.setattr(house.core.tokenizers, "_loaded", {})
    monkeypatch.setattr(house.core.tokenizers, "_read", missing)
    me = somebody()
    if whole:
        house.upstream.play(answer(openai_answer("x" * 400, usage=None)))
        complete(house, me)
    else:
        house.upstream.play(events(*openai_chunks("x" * 400, finish=None, usage=False), done=False))

        async def read(service: ChatService) -> None:
            async for _ in await service.stream(me, HELLO, circumstances()):
                continue

        with pytest.raises(StreamIncomplete):
            with_chat(house, read)
    (entry,) = entries(house, me)
    assert (entry.basis, entry.output_tokens) == ("estimated", 100)
    assert entry.outcome == ("completed" if whole else "stream_incomplete")
    assert held(house, me) == 0


def test_a_caller_who_goes_away_leaves_no_hold(house: House) -> None:
    house.upstream.play(Play(200, hang=20))
    me = somebody()

    async def leave(service: ChatService) -> None:
        task = asyncio.create_task(service.complete(me, HELLO, circumstances()))
        await asyncio.to_thread(House.until, lambda: house.upstream.sent, bool)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with_chat(house, leave)
    assert held(house, me) == 0
    (entry,) = entries(house, me)
    assert (entry.outcome, entry.basis) == ("cancelled", "estimated")


def test_the_worst_case_is_held_before_anything_is_sent(house: House) -> None:
    me = somebody()
    budget = {"scope": "user", "subject": me.principal, "limit_usd": "0.05", "window": "day"}
    house.ask("POST", "/budgets", budget)
    house.upstream.play(answer(openai_answer()))
    with pytest.raises(BudgetExceeded) as caught:
        complete(house, me, changed(max_tokens=8000))
    assert caught.value.details["scope"] == "user"
    assert house.upstream.sent == []
    complete(house, me, changed(max_tokens=10))
    assert len(house.upstream.sent) == 1
