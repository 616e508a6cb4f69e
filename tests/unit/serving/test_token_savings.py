"""The savings that docs/guide/tokens.md tells of, measured anew on the same examples."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Message, TextPart
from gateway.models.optimise import Optimise
from gateway.providers.tokenizers import BpeTokenizers
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.serving.tokens import TokenService

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "tokens.md"
SPEC = ModelSpec("gpt-4o", "llm", "openai", optimise=Optimise())
CATALOGUE = Catalogue("epoch", {"openai": ProviderSpec("openai", "openai")}, {"gpt-4o": SPEC}, {})
SECTORS = ("Utilities", "Energy", "Health care")
PORTFOLIO = [
    {
        "isin": f"US{2_594_918_104 + 7_919_317 * number}",
        "name": f"Company {number}",
        "sector": SECTORS[number % 3],
        "weight": 0.02,
        "market_value_usd": 1_250_000.5 + 7_300 * number,
        "esg_score": round(4 + number % 50 / 10, 1),
    }
    for number in range(50)
]
REPORT = "\n\n".join(
    f"{number}. In the year under report the emissions of site {number} fell by {number + 2} percent, to "
    f"{9_000 - 321 * number} tonnes, mostly because the boilers were replaced; the method is the one of 2024."
    for number in range(1, 21)
)
TALK = [
    text
    for number in range(10)
    for text in (f"{REPORT}\n\nQuestion {number}: which sites matter here?", f"Site {number}, for its boilers. " * 10)
]
EXAMPLES = {
    "portfolio": [f"Here is the portfolio:\n\n{json.dumps(PORTFOLIO, indent=2)}\n\nWhich five carry most risk?"],
    "long talk": [*TALK, f"{REPORT}\n\nAnd in one line?"],
}


def saved(example: str, words: str) -> dict[str, Any]:
    messages = tuple(
        Message("assistant" if at % 2 else "user", (TextPart(text),)) for at, text in enumerate(EXAMPLES[example])
    )
    notes: dict[str, Any] = {}
    call = CallContext("request", "cause", optimise=words)
    asyncio.run(TokenService(BpeTokenizers()).optimised(CATALOGUE, SPEC, Chat("gpt-4o", messages), call, notes))
    note: dict[str, Any] = notes["tokens"]
    return note


ROWS = re.findall(r"^\| (\w[\w ]*) \| `([^`]+)` \| ([\d,]+) \| ([\d,]+) \| (\d+) % \|$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("example", "words", "before", "after", "share"), ROWS)
def test_the_page_tells_what_is_measured(example: str, words: str, before: str, after: str, share: str) -> None:
    note = saved(example, words)
    assert (f"{note['before']:,}", f"{note['after']:,}") == (before, after)
    assert f"{100 * note['saved'] / note['before']:.0f}" == share
    assert note["basis"] == "counted"


def test_the_page_has_every_example() -> None:
    assert {row[0] for row in ROWS} == set(EXAMPLES)
    assert len(ROWS) >= 5
