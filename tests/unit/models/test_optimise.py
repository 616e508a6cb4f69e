"""The words of ``x-gateway-optimise``."""

from __future__ import annotations

import pytest

from gateway.errors import ValidationFailed
from gateway.models.optimise import METHODS, Optimise, Trim, parse_optimise

OWN = Optimise(methods=("json",), trim=Trim(500, keep_first=1), prompt_cache="auto")


@pytest.mark.parametrize(
    ("text", "own", "asked"),
    [
        ("compact", None, Optimise(METHODS)),
        ("repeats, json", None, Optimise(("json", "repeats"))),
        ("tables", OWN, Optimise(("json", "tables"), trim=OWN.trim, prompt_cache="auto")),
        ("off", OWN, None),
        ("prompt-cache", None, Optimise(prompt_cache="auto")),
        (
            "keep-last=3,trim=40,keep-first=2,pin=0,pin=-1",
            None,
            Optimise(trim=Trim(40, 2, 3, (0, -1))),
        ),
        ("trim=9", OWN, Optimise(("json",), trim=Trim(9), prompt_cache="auto")),
        ("pin=4", OWN, Optimise(("json",), trim=Trim(500, 1, 1, (4,)), prompt_cache="auto")),
        ("", OWN, OWN),
    ],
)
def test_a_call_adds_to_its_row(text: str, own: Optimise | None, asked: Optimise | None) -> None:
    assert parse_optimise(text, own, "x") == asked


@pytest.mark.parametrize(
    "text",
    ["smaller", "off,json", "trim", "trim=", "trim=0", "trim=-5", "trim=1e3", "trim=9999999999", "keep-first=1",
     "pin=0", "trim=5,keep-last=0", "trim=5,pin=--1", "json=1", "trim=٣", "trim=5,pin=-3000", "trim=²"],
)  # fmt: skip
def test_what_nobody_knows_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_optimise(text, None, "x-gateway-optimise")
    assert caught.value.param == "x-gateway-optimise"
    assert "x-gateway-optimise" in caught.value.message
