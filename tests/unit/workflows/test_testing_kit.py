"""``gateway.testing``: the real engine in memory, with a clock that passes as it is told."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.clock import SECOND
from gateway.errors import DefinitionInvalid, PermissionDenied, UpstreamOverloaded, ValidationFailed
from gateway.models.llm_models import Chat
from gateway.security.access import caller_for
from gateway.testing import MORNING, MemoryGateway
from gateway.workflows import StepContext, Workflow, task_type


class Count(BaseModel):
    start: int


class Counted(BaseModel):
    n: int


@task_type("count_up")
def count_up(ctx: StepContext, data: Count) -> Counted:
    """One more."""
    ctx.progress(0.5, "counting")
    return Counted(n=data.start + 1)


@task_type("count_down")
async def count_down(ctx: StepContext, data: Count) -> Counted:
    """One less, at the third attempt."""
    if ctx.attempt < 3:
        raise UpstreamOverloaded("not yet")
    return Counted(n=data.start - 1)


def chain() -> Workflow:
    flow = Workflow("chain", input=Count)
    up = flow.step("up", count_up, {"start": flow.input.start})
    flow.step("down", count_down, {"start": up.n}, retry={"max_attempts": 3, "backoff": 600})
    return flow


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the test kit opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_workflow_runs_to_its_end_and_hours_pass_in_no_time() -> None:
    with MemoryGateway() as gateway:
        run = gateway.run(chain(), {"start": 5})
        assert run.status == "completed", run.error
        assert run.output == {"up": {"n": 6}, "down": {"n": 5}}
        assert (run.steps["up"]["attempts"], run.steps["down"]["attempts"]) == (1, 3)
        assert gateway.clock.now() - MORNING >= 900 * SECOND
        types = [event.type for event in run.events]
        assert types.count("task_retrying") == 2
        assert types[-1] == "workflow_completed"


def test_a_step_that_fails_tells_why() -> None:
    flow = Workflow("short")
    flow.step("down", count_down, {"start": 1}, retry={"max_attempts": 1})
    with MemoryGateway() as gateway:
        run = gateway.run(flow)
        assert (run.status, run.steps["down"]["status"]) == ("failed", "failed")
        assert run.error is not None
        assert (run.error["step_id"], run.error["message"]) == ("down", "not yet")


def test_a_definition_from_yaml_and_a_model_of_the_test() -> None:
    definition = {
        "workflow_id": "ask",
        "steps": [
            {
                "step_id": "ask",
                "task_type": "llm_analysis",
                "model_config": {"name": "gpt-4"},
                "input_mapping": {"prompt": "input.question"},
            }
        ],
    }
    with MemoryGateway(models={"gpt-4": lambda chat: f"I heard: {chat.messages[-1].text()}"}) as gateway:
        run = gateway.run(definition, {"question": "Up?"})
        assert run.output is not None
        assert run.output["ask"]["response"] == "I heard: Up?"
        assert isinstance(gateway.chats[0], Chat)
    with MemoryGateway() as gateway:
        silent = gateway.run(definition | {"workflow_id": "other"}, {"question": "Up?"})
        assert silent.error is not None
        assert "does not say" in silent.error["message"]


def test_one_task() -> None:
    with MemoryGateway() as gateway:
        assert gateway.run_task(count_up, {"start": 1}).output == {"n": 2}
        with pytest.raises(ValidationFailed) as refused:
            gateway.run_task(count_up, {"start": "many"})
        assert refused.value.param == "input_data.start"


def test_what_is_wrong_with_a_definition_is_told_as_the_service_would() -> None:
    flow = Workflow("ring")
    flow.step("a", count_up, {"start": 1}, after=["b"])
    flow.step("b", count_up, {"start": 1}, after=["a"])
    with MemoryGateway() as gateway, pytest.raises(DefinitionInvalid, match="in a circle"):
        gateway.run(flow)


def test_two_gateways_know_nothing_of_each_other() -> None:
    with MemoryGateway() as one, MemoryGateway() as other:
        first = one.run(chain(), {"start": 1})
        second = other.run(chain(), {"start": 2})
        assert first.output != second.output
        assert {event.run_id for event in second.events} == {second.run_id}


class Given(BaseModel):
    value: object


@task_type("goes_wrong")
def goes_wrong(_ctx: StepContext, data: Count) -> Given:
    """What functions do that were not written for this."""
    wrong = [object(), float("nan"), b"\xff"]
    return Given(value=wrong[data.start] if data.start < len(wrong) else next(iter([])))


def test_a_function_that_stops_an_iteration_fails_and_nobody_waits_for_it() -> None:
    flow = Workflow("stops", input=Count)
    flow.step("a", goes_wrong, {"start": flow.input.start}, retry={"max_attempts": 1}, timeout=5)
    with MemoryGateway() as gateway:
        error = gateway.run(flow, {"start": 9}).steps["a"]["error"]
        assert error["message"].startswith("the step raised StopIteration (test_testing_kit.py")


@pytest.mark.parametrize(
    ("which", "told"),
    [
        (0, "goes_wrong gave what JSON cannot hold"),
        (1, "the output of goes_wrong is not JSON: value is NaN or infinite"),
        (2, "goes_wrong gave what JSON cannot hold"),
    ],
)
def test_an_output_that_json_cannot_hold_says_so(which: int, told: str) -> None:
    flow = Workflow("stops", input=Count)
    flow.step("a", goes_wrong, {"start": flow.input.start})
    with MemoryGateway() as gateway:
        step = gateway.run(flow, {"start": which}).steps["a"]
        assert (step["status"], step["attempts"]) == ("failed", 1)
        assert step["error"]["message"].startswith(told)


def test_hours_pass_in_lists_and_in_workflows_within_too() -> None:
    inner = Workflow("within", input=Count)
    inner.step("down", count_down, {"start": inner.input.start}, retry={"max_attempts": 3, "backoff": 600})
    outer = Workflow("around", input=Count)
    start = {"start": outer.input.start}
    outer.step("each", count_down, start, for_each=[1, 2], retry={"max_attempts": 3, "backoff": 600})
    outer.step("whole", workflow=inner, inputs=start)
    with MemoryGateway() as gateway:
        run = gateway.run(outer, {"start": 5})
        assert run.status == "completed", run.error
        assert run.output is not None
        assert [one["n"] for one in run.output["each"]["results"]] == [4, 4]
        assert run.output["whole"]["down"] == {"n": 4}
        assert gateway.clock.now() - MORNING > 900 * SECOND


def test_a_test_gives_a_persons_word_and_a_signal() -> None:
    flow = Workflow("asks", input=Count)
    word = flow.step("word", approval={"message": "Go on?", "not_owner": True})
    heard = flow.step("heard", signal="go", after=[word])
    flow.step("up", count_up, {"start": heard.payload})
    with MemoryGateway() as gateway:
        run = gateway.run(flow, {"start": 0})
        assert run.steps["word"]["status"] == "waiting"
        with pytest.raises(PermissionDenied):
            gateway.approve(run.run_id, "word")
        run = gateway.approve(run.run_id, "word", by=caller_for("bob", "operator"), reason="read it")
        assert (run.steps["word"]["result"]["by"], run.steps["heard"]["status"]) == ("bob", "waiting")
        run = gateway.signal(run.run_id, "go", 6)
        assert (run.status, (run.output or {})["up"]) == ("completed", {"n": 7})
        assert run.steps["heard"]["result"]["at"] == "2026-01-05T08:00:00.000000Z"


class Whole(BaseModel):
    number: int


def test_what_a_workflow_within_cannot_take_is_refused() -> None:
    inner = Workflow("inner", input=Whole)
    inner.step("up", count_up, {"start": inner.input.number})
    for mapping, told in (
        ({}, "needs the input 'number'"),
        ({"number": {"a": 1}}, "takes a number here"),
    ):
        outer = Workflow("outer")
        outer.step("i", workflow=inner, inputs=mapping)
        with MemoryGateway() as gateway, pytest.raises(DefinitionInvalid, match=told) as caught:
            gateway.run(outer)
        assert (caught.value.param or "").startswith("steps[0].input_mapping")
        assert "step 'i'" in caught.value.message


def test_what_only_the_run_tells_that_a_workflow_within_cannot_take_fails_the_step() -> None:
    inner = Workflow("inner", input=Whole)
    inner.step("up", count_up, {"start": 1})
    outer = Workflow("outer")
    outer.step("i", workflow=inner, inputs={"number": outer.input.number})
    with MemoryGateway() as gateway:
        run = gateway.run(outer, {"number": "many"})
        assert (run.status, run.steps["i"]["error"]["param"]) == ("failed", "input.number")


def test_a_workflow_that_is_not_there_is_named_with_its_step() -> None:
    outer = Workflow("outer")
    outer.step("i", workflow="nowhere")
    with MemoryGateway() as gateway, pytest.raises(DefinitionInvalid, match=r"no workflow 'nowhere' \(step 'i'\)"):
        gateway.run(outer)


def test_workflows_lie_within_each_other_only_so_deep() -> None:
    inner = Workflow("deep0")
    inner.step("up", count_up, {"start": 1})
    with MemoryGateway() as gateway:
        for depth in range(1, 9):
            outer = Workflow(f"deep{depth}")
            outer.step("in", workflow=inner)
            inner = outer
        assert gateway.run(inner).status == "completed"
        outer = Workflow("deep9")
        outer.step("in", workflow=inner)
        with pytest.raises(DefinitionInvalid, match="at most 8 deep"):
            gateway.run(outer)
        round_again = Workflow("deep0")
        round_again.step("in", workflow="deep1")
        with pytest.raises(DefinitionInvalid, match="within each other: deep0 → deep1 → deep0"):
            gateway.run(round_again)
