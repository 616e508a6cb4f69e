"""The injection guard, measured on a small set by hand; the figures stand in the guide."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.governance.injection import THRESHOLD, InjectionGuard, weigh
from gateway.models.guard import Asked, Finding, GuardText, Where
from unit.governance.injection_samples import ATTEMPTS, HARMLESS

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "guards.md"


def measured() -> tuple[int, int]:
    """Attempts that are found, and harmless texts that are taken for some."""
    return sum(weigh(text) >= THRESHOLD for text in ATTEMPTS), sum(weigh(text) >= THRESHOLD for text in HARMLESS)


def test_it_finds_most_and_errs_seldom() -> None:
    found, wrong = measured()
    missed = [text for text in ATTEMPTS if weigh(text) < THRESHOLD]
    taken = [text for text in HARMLESS if weigh(text) >= THRESHOLD]
    assert found / len(ATTEMPTS) >= 0.7, missed
    assert found / (found + wrong) >= 0.9, taken


def test_the_guide_tells_what_was_measured() -> None:
    found, wrong = measured()
    page = " ".join(GUIDE.read_text().split())
    told = re.search(r"finds (\d+) of (\d+) attempts and takes (\d+) of (\d+) harmless", page)
    assert told is not None
    assert tuple(map(int, told.groups())) == (found, len(ATTEMPTS), wrong, len(HARMLESS))


def test_only_what_users_and_tools_say_is_looked_at() -> None:
    text = ATTEMPTS[0]
    roles: tuple[Where, ...] = ("system", "user", "assistant", "tool")
    asked = Asked([GuardText(f"messages[{at}]", role, text) for at, role in enumerate(roles)])
    assert list(InjectionGuard().look(asked)) == [Finding("injection", 1), Finding("injection", 3)]
    assert list(InjectionGuard(threshold=50).look(asked)) == []
