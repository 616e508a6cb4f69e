"""A worker is lost with a prediction on its way: one that costs something is made again as the step's policy says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from fixtures.house import House
from gateway.models.ml_models import Features, ModelSchema, ModelVersion, Prediction, Predictor, RowPrediction
from gateway.serving.predict import PredictRequest, PredictService
from gateway.workflows import StepContext, task_type
from unit.api.test_unknown_outcomes import asks, calls, lose

KIND = "asks_a_predictor_twice"
VERSION = ModelVersion(
    "endpoint",
    3,
    "regression",
    "none",
    "",
    ModelSchema(()),
    {},
    {},
    data_hash="",
    seed=0,
    libraries={},
    created_at=0,
    created_by="",
)


class Question(BaseModel):
    model: str


class Sum(BaseModel):
    total: float


class Endpoint:
    """A predictor elsewhere, that falls silent once: at its second request."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.spoken = threading.Event()

    def predict(self, features: Features) -> Prediction:
        self.asked.append(features.rows[0][0])
        if len(self.asked) == 2:
            self.spoken.wait(60)
        return Prediction((RowPrediction(value=10 * features.rows[0][0]),))


@task_type(KIND)
async def ask_twice(ctx: StepContext, question: Question) -> Sum:
    """Two predictions, one after the other."""
    total = 0.0
    for number in (1, 2):
        request = PredictRequest(question.model, {"x": float(number)})
        answer = await ctx.predict.predict(ctx.caller, request, ctx.call(number))
        total += answer.prediction.predictions[0].value or 0.0
    return Sum(total=total)


@pytest.fixture
def endpoint(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    made = Endpoint()

    def ready(_self: object, _catalogue: object, _spec: object, request: PredictRequest) -> tuple[Any, Any, Predictor]:
        return VERSION, Features(((request.inputs["x"],),)), made

    monkeypatch.setattr(PredictService, "_ready", ready)
    house.core.task_types[KIND] = ask_twice.spec
    house.quiet()
    yield made
    made.spoken.set()
    house.quiet()
    del house.core.task_types[KIND]


def cut_off(house: House, endpoint: Endpoint, model: str, **fields: Any) -> dict[str, Any]:
    """A task whose worker is lost while the second prediction is on its way."""
    task: dict[str, Any] = house.ask(
        "POST", "/tasks", {"task_type": KIND, "input_data": {"model": model}, **fields}
    ).body
    House.until(lambda: len(endpoint.asked), lambda number: number == 2)
    lose(house, task["run_id"], "task")
    return task


def test_what_was_answered_is_not_paid_again_and_what_was_not_is_told(house: House, endpoint: Endpoint) -> None:
    task = cut_off(house, endpoint, "t-priced")
    ended = house.ended(f"/tasks/{task['task_id']}")
    assert (ended["status"], ended["result"]) == ("completed", {"total": 30.0})
    assert endpoint.asked == [1, 2, 2]
    (step,) = house.ask("GET", f"/runs/{task['run_id']}").body["steps"]
    (again,) = step["calls_made_again"]
    assert (again["followed_by"], again["model"]) == ("retry", "t-priced")
    assert calls(house, task["run_id"]) == [(False, "retry"), (True, None), (True, None)]
    keys = [record["detail"].get("step_call") for record in house.ask("GET", "/audit?limit=50").body["records"]]
    assert again["key"] in keys, "the key is in the record of the call"


def test_the_step_fails_where_it_is_told_to(house: House, endpoint: Endpoint) -> None:
    task = cut_off(house, endpoint, "t-priced", on_unknown_outcome="fail")
    ended = house.ended(f"/tasks/{task['task_id']}")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "call_outcome_unknown")
    assert endpoint.asked == [1, 2]


def test_a_person_is_asked(house: House, endpoint: Endpoint) -> None:
    task = cut_off(house, endpoint, "t-priced", on_unknown_outcome="ask")
    assert "t-priced" in asks(house, task["run_id"])["message"]
    assert endpoint.asked == [1, 2]
    word = {"step_id": "task", "approved": True, "reason": "twelve cents"}
    assert house.ask("POST", f"/runs/{task['run_id']}/approve", word).status == 200
    assert house.ended(f"/tasks/{task['task_id']}")["result"] == {"total": 30.0}
    assert endpoint.asked == [1, 2, 2]


def test_one_that_costs_nothing_is_made_again_and_nobody_is_asked(house: House, endpoint: Endpoint) -> None:
    task = cut_off(house, endpoint, "t-unpriced", on_unknown_outcome="ask")
    ended = house.ended(f"/tasks/{task['task_id']}")
    assert (ended["status"], ended["result"]) == ("completed", {"total": 30.0})
    assert endpoint.asked == [1, 2, 1, 2]


def test_one_that_fails_has_a_known_end(house: House, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    good = endpoint.predict

    def fails_once(features: Features) -> Prediction:
        if not endpoint.asked:
            endpoint.asked.append(0.0)
            endpoint.spoken.set()
            raise RuntimeError("no answer")
        return good(features)

    monkeypatch.setattr(endpoint, "predict", fails_once)
    body = {"task_type": KIND, "input_data": {"model": "t-priced"}, "on_unknown_outcome": "fail"}
    task = house.ask("POST", "/tasks", body).body
    ended = house.ended(f"/tasks/{task['task_id']}")
    assert ended["status"] == "completed", ended["error"]
    assert calls(house, task["run_id"]) == [(True, None), (True, None)]
