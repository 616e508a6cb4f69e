"""What is shown of a run that is followed: the tree, the bars, and what the events told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fixtures.house import House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.cli import follow, tasks, workflows
from gateway.cli.run_board import RunBoard, StepLine, took, tree
from gateway.cli.runs import _note
from gateway.engine.rows import StepRow
from gateway.engine.step_definition import ForEach, StepDefinition
from gateway.tasks.views import task_view

FLOW = {
    "workflow_id": "followed",
    "steps": [
        {
            "step_id": name,
            "task_type": "llm_analysis",
            "model_config": {"name": "gpt-4"},
            "input_mapping": {"prompt": "input.question"},
            "dependencies": after,
            "retry": {"max_attempts": 1},
        }
        for name, after in (("load", []), ("left", ["load"]), ("right", ["load"]), ("end", ["left", "right"]))
    ],
}


def line(*after: str) -> StepLine:
    return StepLine("work", after)


def test_a_step_hangs_from_the_deepest_of_those_it_waits_for() -> None:
    steps = {"a": line(), "b": line("a"), "c": line("b"), "d": line("a", "c"), "e": line("a"), "alone": line()}
    assert tree(steps) == [
        ("a", "├─ ", ()),
        ("b", "│  ├─ ", ()),
        ("c", "│  │  └─ ", ()),
        ("d", "│  │     └─ ", ("a",)),
        ("e", "│  └─ ", ()),
        ("alone", "└─ ", ()),
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, ""), (3.14, "  3.1 s"), (75, "1:15 min"), (3700, "1:01 h"), (90_000, "25:00 h")]
)
def test_durations_are_for_people(seconds: float | None, shown: str) -> None:
    assert took(seconds) == shown


def test_events_are_shown_as_they_come() -> None:
    board = RunBoard("flow run_1", {"a": line(), "b": line("a")}, {"t1": "a", "t2": "b"})

    def hear(kind: str, at: str, **fields: Any) -> str:
        board.hear({"type": kind, "time": f"2026-01-05T08:00:{at}Z", **fields})
        narrow = Console(width=110, color_system=None)
        with narrow.capture() as told:
            narrow.print(board)
        return told.get()

    assert "▸ a" in hear("task_started", "00.000000", task_id="t1", step_id="a", attempt=1)
    assert "after" not in hear("workflow_progress", "01.000000", step_id="a", step_progress=0.4, note="fitting")
    shown = hear("task_retrying", "02.000000", task_id="t1", step_id="a", error={"message": "busy"})
    assert "again soon: busy" in shown
    shown = hear("task_started", "03.000000", task_id="t1", step_id="a", attempt=2)
    assert "attempt 2" in shown
    result = {"tokens_used": 12, "cost": 0.0015}
    shown = hear("task_completed", "05.500000", task_id="t1", step_id="a", result=result)
    assert "✓ a" in shown
    assert "2.5 s" in shown
    assert "12 tokens  $0.0015" in shown
    assert " 50%" in shown.splitlines()[0]
    shown = hear("task_failed", "06.000000", task_id="t2", step_id="b", error={"message": "no data"})
    assert "no data" in shown
    shown = hear("workflow_failed", "06.000000")
    assert "failed" in shown.splitlines()[0]
    assert "6.0 s" in shown.splitlines()[0]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def at_house(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    house.upstream.play(answer(openai_answer("Well.")))
    return house


def test_a_run_is_followed_line_by_line_where_there_is_no_terminal(at_house: House) -> None:
    at_house.ask("POST", "/workflows", FLOW)
    done = CliRunner().invoke(workflows.make_app(), ["run", "followed", "--data", '{"question": "How?"}', "--follow"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert sum("begins" in one for one in lines) == 4
    assert sum("completed in" in one for one in lines) == 4
    assert "followed run_" in lines[-5]
    assert "└─ ✓ load" in lines[-4]
    assert "$0.0" in lines[-5]


def test_a_failed_run_says_why_and_ends_so(at_house: House) -> None:
    at_house.ask("POST", "/workflows", FLOW)
    at_house.upstream.play(answer({"error": {"message": "no such key"}}, 401))
    run_id = at_house.ask("POST", "/workflows/followed/runs", {"input": {"question": "?"}}).body["run_id"]
    done = CliRunner().invoke(workflows.make_app(), ["watch", run_id, "--json"])
    assert done.exit_code == 10
    assert json.loads(done.stdout)["status"] == "failed"


def test_a_task_is_watched(at_house: House) -> None:
    given = {"task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_data": {"prompt": "Why?"}}
    task_id = at_house.ask("POST", "/tasks", given).body["task_id"]
    done = CliRunner().invoke(tasks.make_app(), ["watch", task_id])
    assert done.exit_code == 0, done.output
    assert f"✓ {task_id}" in done.output.splitlines()[-1]
    again = CliRunner().invoke(tasks.make_app(), ["watch", task_id, "--json"])
    assert json.loads(again.stdout)["result"]["response"] == "Well."
    assert CliRunner().invoke(tasks.make_app(), ["watch", "task_none"]).exit_code != 0


def test_a_line_that_breaks_is_taken_up_again(at_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection breaks after two events, and the run ends meanwhile; nothing is missed or told twice."""
    at_house.ask("POST", "/workflows", FLOW)
    real, opened = follow._events, []

    class Breaking:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __aenter__(self) -> Any:
            socket = await self.inner.__aenter__()

            async def some() -> Any:
                yield await socket.recv()
                yield await socket.recv()
                await asyncio.to_thread(House.until, runs, lambda page: page["runs"][0]["status"] == "completed")
                raise ConnectionResetError

            return some()

        async def __aexit__(self, *error: Any) -> None:
            await self.inner.__aexit__(*error)

    def events(client: Any, wanted: dict[str, str]) -> Any:
        opened.append(wanted["last_event_id"])
        return Breaking(real(client, wanted)) if len(opened) == 1 else real(client, wanted)

    def runs() -> Any:
        return at_house.ask("GET", "/runs").body

    monkeypatch.setattr(follow, "_events", events)
    monkeypatch.setattr(follow, "_PAUSE", 0.01)
    done = CliRunner().invoke(workflows.make_app(), ["run", "followed", "--data", '{"question": "How?"}', "--follow"])
    assert done.exit_code == 0, done.output
    assert sum("begins" in one for one in done.output.splitlines()) == 4
    assert (len(opened), opened[0]) == (2, "0")
    assert int(opened[1]) > 0


def test_a_list_under_way_says_how_many_of_its_items_have_ended() -> None:
    """What the service says of the step is what both the board and ``runs show`` print."""
    spec = StepDefinition("many", "work", for_each=ForEach("input.list"))
    step = StepRow(
        "task_1", "run_1", "many", 0, "work", spec, "cpu", 5, "gathering", 3, 1, None, 0, 1, 0, None, {"items": 6},
        None, None, None, 0.5, "", 1, 1, None,
    )  # fmt: skip
    run = SimpleNamespace(kind="workflow", workflow_id="wf")
    view = task_view(cast(Any, run), step, 0)
    assert (view["items_ended"], view["items"], _note(view)) == (3, 6, "3 of 6 items")
    board = RunBoard.of("wf", "running", [view])
    assert board.steps["many"].note == "3 of 6 items"


def test_what_was_told_of_a_step_on_its_way_goes_when_it_has_ended() -> None:
    began = {"task_id": "t1", "step_id": "a", "task_type": "work", "status": "running", "progress": 0.25}
    began |= {"started_at": None, "completed_at": None, "attempts": 1, "cost": 0, "progress_note": "1 of 4 items"}
    board = RunBoard.of("run", "running", [began])
    assert board.steps["a"].note == "1 of 4 items"
    board.hear({"type": "task_retrying", "step_id": "a", "error": {"message": "busy"}})
    board.settle([{**began, "status": "completed", "progress": 1.0}])
    assert board.steps["a"].note == ""
    board.settle([{**began, "status": "skipped", "skipped": "the run failed before"}])
    assert board.steps["a"].note == "the run failed before"
