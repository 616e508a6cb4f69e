"""``/v2``: the Open Inference Protocol. The same predictions, limits, permissions and entries as ``/execute/ml``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fixtures.house import Answer, House, running_house
from gateway.ml.trainers import anomaly_detection, classification, clustering, regression, time_series
from gateway.ml.training import TrainedModel
from gateway.workflows.builtin_models import new_version
from unit.ml.conftest import CLASSES, class_rows, make_table, target_rows

NAMES = ("f0", "f1", "f2", "f3", "f4")
ROWS = [[0.1, -0.2, 0.3, 0.0, 1.0], [1.5, 0.2, -1.3, 0.4, -1.0], [90.0, 0.0, 0.0, 0.0, 0.0]]


def _forecaster() -> TrainedModel:
    steps = np.random.default_rng(5).normal(0.0003, 0.01, size=(1_500, 3))
    prices = np.asarray(100.0 * np.exp(np.cumsum(steps, axis=0)), dtype=np.float64)
    dates = np.datetime64("2010-01-01") + np.arange(1_500)
    return time_series.train(time_series.SeriesTable(("a", "b", "c"), prices, dates, about={}), seed=7)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With one small model of each family, its first version: elsewhere none is trained."""
    with running_house(tmp_path_factory.mktemp("inference")) as running:
        for name, trained in _trained().items():
            running.core.registry.register(new_version(name, trained, "test"))
        yield running


def _trained() -> dict[str, TrainedModel]:
    random = np.random.default_rng(3)
    shape = random.normal(size=(600, 3))
    zeros = np.zeros(600)
    blobs = np.concatenate([random.normal(middle, 0.2, size=(100, 2)) for middle in (0.0, 5.0, 10.0)])
    target = make_table(*target_rows(900, 2))
    return {
        "risk-classifier": classification.train(make_table(*class_rows(900, 1)), CLASSES, seed=7),
        "volatility-regressor": regression.train(target, scale="log", baselines={"zero": np.zeros(900)}, seed=7),
        "market-anomaly": anomaly_detection.train(make_table(shape, zeros), seed=7),
        "portfolio-segments": clustering.train(make_table(blobs, np.zeros(300), embargo=0), order_by="f0", seed=7),
        "price-forecaster": _forecaster(),
    }


def tensor(name: str, shape: list[int], data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def infer(house: House, model: str, *tensors: dict[str, Any], path: str = "", **more: Any) -> Answer:
    key = more.pop("key", None) or house.key("developer")
    return house.ask("POST", f"/v2/models/{model}{path}/infer", {"inputs": list(tensors), **more}, key=key)


def outputs(found: Answer) -> dict[str, list[Any]]:
    assert found.status == 200, found.body
    for one in found.body["outputs"]:
        assert len(one["data"]) == np.prod(one["shape"]), one
    return {one["name"]: one["data"] for one in found.body["outputs"]}


def plain(house: House, model: str, **data: Any) -> list[dict[str, Any]]:
    """What ``/execute/ml`` says to the same."""
    body = {"model_config": {"name": model, "parameters": {"explain": False}}, "input_data": data}
    rows: list[dict[str, Any]] = house.ask("POST", "/execute/ml", body).body["predictions"]
    return rows


def test_a_table_in_one_tensor_and_by_columns(house: House) -> None:
    told = plain(house, "risk-classifier", rows=ROWS)
    flat = [value for row in ROWS for value in row]
    whole = infer(house, "risk-classifier", tensor("input", [3, 5], flat), id="mine")
    nested = infer(house, "risk-classifier", tensor("input", [3, 5], ROWS))
    columns = [tensor(f"f{at}", [3, 1] if at else [3], [row[at] for row in ROWS], "FP32") for at in (4, 0, 1, 2, 3)]
    found = outputs(whole)
    assert found == outputs(nested) == outputs(infer(house, "risk-classifier", *columns))
    assert found["label"] == [row["label"] for row in told]
    assert found["classes"] == list(CLASSES)
    assert found["probabilities"] == [row["probabilities"][name] for row in told for name in CLASSES]
    assert found["prediction_set"] == [name in row["prediction_set"] for row in told for name in CLASSES]
    assert found["out_of_range"] == [name in row.get("out_of_range", ()) for row in told for name in NAMES]
    assert found["out_of_range"][10] is True
    assert whole.body | {"outputs": None} == {
        "model_name": "risk-classifier",
        "model_version": "1",
        "id": "mine",
        "parameters": {"coverage": told[0]["coverage"]},
        "outputs": None,
    }
    assert nested.body["id"] == nested.headers["x-request-id"]


def test_every_family_answers_in_tensors(house: House) -> None:
    row = [[0.1, 0.2, 0.3, 0.4]]
    (told,) = plain(house, "volatility-regressor", rows=row)
    found = outputs(infer(house, "volatility-regressor", tensor("x", [1, 4], row)))
    assert [found["lower"], found["value"], found["upper"]] == [[told["lower"]], [told["value"]], [told["upper"]]]
    (told,) = plain(house, "market-anomaly", rows=[[9.0, 9.0, 9.0]])
    answer = infer(house, "market-anomaly", tensor("x", [1, 3], [9, 9, 9], "INT8"))
    assert (outputs(answer)["score"], outputs(answer)["is_anomaly"]) == ([told["score"]], [True])
    assert answer.body["parameters"] == {"threshold": told["threshold"]}
    (told,) = plain(house, "portfolio-segments", rows=[[5.1, 4.9]])
    found = outputs(infer(house, "portfolio-segments", tensor("x", [1, 2], [5.1, 4.9])))
    assert (found["cluster"], found["label"]) == ([told["cluster"]], [told["label"]])
    series = [100 + 0.1 * day for day in range(400)]
    rows = plain(house, "price-forecaster", series=series, horizon=3)
    ahead = tensor("horizon", [1], [3], "INT64")
    found = outputs(infer(house, "price-forecaster", tensor("series", [400], series), ahead))
    assert found["value"] == [one["value"] for one in rows]


def test_reasons_where_they_are_asked_for(house: House) -> None:
    found = infer(house, "volatility-regressor", tensor("x", [1, 4], [1, 2, 3, 4]), parameters={"explain": True})
    tensors = {one["name"]: one for one in found.body["outputs"]}
    assert tensors["contributions"]["shape"] == [1, 4]
    assert tensors["contributions"]["parameters"] == {"columns": "f0,f1,f2,f3"}
    wanted = [{"name": "value"}]
    few = infer(house, "volatility-regressor", tensor("x", [1, 4], [1, 2, 3, 4]), outputs=wanted)
    assert list(outputs(few)) == ["value"]


def test_what_a_model_takes_and_gives(house: House) -> None:
    key = house.key("viewer")
    found = house.ask("GET", "/v2/models/market-anomaly", key=key).body
    versions = [str(one["version"]) for one in house.ask("GET", "/models/market-anomaly").body["versions"]]
    assert (found["name"], found["versions"]) == ("market-anomaly", sorted(versions, key=int))
    assert found["inputs"] == [{"name": f"f{at}", "datatype": "FP64", "shape": [-1]} for at in range(3)]
    assert found["outputs"][:2] == [
        {"name": "score", "datatype": "FP64", "shape": [-1]},
        {"name": "is_anomaly", "datatype": "BOOL", "shape": [-1]},
    ]
    assert house.ask("GET", "/v2/models/price-forecaster", key=key).body["inputs"][0]["name"] == "series"
    assert house.ask("GET", "/v2/models/market-anomaly/ready", key=key).body["ready"] is True
    assert house.ask("GET", "/v2/models/market-anomaly/versions/1/ready", key=key).body["ready"] is True
    assert house.ask("GET", "/v2/models/market-anomaly/versions/77/ready", key=key).status == 404


def test_the_server_says_what_it_is_to_anybody(house: House) -> None:
    assert house.ask("GET", "/v2", key=None).body["extensions"] == []
    assert house.ask("GET", "/v2/health/live", key=None).body == {"live": True}
    assert house.ask("GET", "/v2/health/ready", key=None).body == {"ready": True}


def test_a_call_is_in_the_ledger_once(house: House) -> None:
    key = house.key("developer", principal="tensor-caller")
    body = {"inputs": [tensor("x", [2, 3], [0, 0, 0, 1, 1, 1])]}
    answers = [
        house.ask("POST", "/v2/models/market-anomaly/infer", body, key=key, headers={"idempotency-key": "twice"})
        for _ in range(2)
    ]
    assert answers[0].body == answers[1].body
    assert answers[1].headers["idempotent-replayed"] == "true"
    (row,) = house.until(lambda: house.ask("GET", "/usage?by=model&principal=tensor-caller").body["rows"], bool)
    assert (row["model"], row["calls"]) == ("market-anomaly", 1)


def test_versions_permissions_and_other_kinds(house: House) -> None:
    one = tensor("x", [1, 3], [1, 2, 3])
    assert infer(house, "market-anomaly", one, path="/versions/1").body["model_version"] == "1"
    assert infer(house, "market-anomaly", one, path="/versions/99").status == 404
    assert infer(house, "market-anomaly", one, path="/versions/one").status == 404
    closed = house.key("developer", models=["smollm2"])
    assert infer(house, "market-anomaly", one, key=closed).status == 404
    refused = infer(house, "market-anomaly", one, key=house.key("viewer"))
    assert (refused.status, refused.body["code"]) == (403, "permission_denied")
    assert "ml:execute" in refused.body["error"]
    assert infer(house, "smollm2", one).status == 400
    assert infer(house, "no-such-model", one).status == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [1]}, "inputs[0]"),
        ({"inputs": [tensor("x", [1, 2], [1, 2])]}, "2 columns are not the model's 3 features"),
        ({"inputs": [tensor("x", [2, 3], [1, 2, 3])]}, "3 values are not of the shape [2, 3]"),
        ({"inputs": [tensor("x", [1, 3], [[1, 2]])]}, "not the shape"),
        ({"inputs": [tensor("x", [0, 3], [])]}, "inputs[0].shape"),
        ({"inputs": [tensor("x", [1, 1, 3], [1, 2, 3])]}, "inputs[0].shape"),
        ({"inputs": [tensor("x", [True, 3], [1, 2, 3])]}, "inputs[0].shape"),
        ({"inputs": [tensor("x", [20_000, 3], [0] * 60_000)]}, "20000 rows"),
        ({"inputs": [tensor("x", [1, 3], ["a", "b", "c"], "BYTES")]}, "numbers are expected"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 3], "FP65")]}, "no such datatype"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, None])]}, "inputs[0].data[2]"),
        ({"inputs": [tensor("x", [1, 3], [1, True, 2])]}, "inputs[0].data[1]"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 300], "INT8")]}, "inputs[0].data[2]"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 3.5], "INT64")]}, "inputs[0].data[2]"),
        ({"inputs": [tensor("f0", [1], [1]), tensor("f0", [1], [1])]}, "twice"),
        ({"inputs": [tensor("f0", [1], [1]), tensor("f1", [2], [1, 2]), tensor("f2", [1], [1])]}, "inputs[1].shape"),
        ({"inputs": [tensor("f0", [1], [1]), tensor("f1", [1], [1])]}, "the first is f2"),
        ({"inputs": [tensor("f0", [1], [1]), tensor("zz", [1], [1])]}, "inputs[1].name"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 3])], "outputs": [{"name": "label"}]}, "it gives: score"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 3])], "parameters": {"explain": 1}}, "parameters.explain"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 3])], "more": 1}, "more: no such field"),
        ({"inputs": [{**tensor("x", [1, 3], []), "parameters": {"binary_data_size": 24}}]}, "binary_data=False"),
        ({"inputs": [tensor("x", [1, 3], [1, 2, 3])], "parameters": {"binary_data_output": True}}, "binary"),
    ],
)
def test_a_bad_request_says_where(house: House, body: dict[str, Any], says: str) -> None:
    found = house.ask("POST", "/v2/models/market-anomaly/infer", body)
    assert found.status in (400, 501), found.body
    assert says in found.body["error"], found.body
    assert set(found.body) == {"error", "code", "request_id"}


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([tensor("x", [400], [1.0] * 400)], "series and horizon"),
        ([tensor("series", [2], [1.0, 2.0])], "2 values"),
        ([tensor("series", [400, 2], [1.0] * 800)], "shape [n]"),
        ([tensor("series", [400], [1.0] * 400), tensor("horizon", [1], [0], "INT64")], "horizon"),
        ([tensor("series", [400], [1.0] * 400), tensor("horizon", [1], [2.5])], "horizon"),
        ([tensor("horizon", [1], [2], "INT64")], "a tensor series"),
    ],
)
def test_a_bad_series_says_where(house: House, tensors: list[dict[str, Any]], says: str) -> None:
    found = house.ask("POST", "/v2/models/price-forecaster/infer", {"inputs": tensors})
    assert found.status == 400
    assert says in found.body["error"], found.body
