"""Two questions have one form only where they ask the same: near misses never, paraphrases often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.governance.question import MOST_CHARACTERS, form
from unit.governance.question_pairs import NEAR_MISSES, PARAPHRASES

WORDS = st.sampled_from(
    ["revenue", "emissions", "Acme", "Beta", "2023", "2024", "Scope 2", "Scope 3", "buy", "sell", "not", "EUR", "USD",
     "5%", "95", "99", "the", "of", "in", "and", "before", "after", "by", "'s",
     "is", "was", "what", "who", "AA+", "AA-", "do", "did"]
)  # fmt: skip
MEANING = {"Acme", "Beta", "2023", "2024", "2", "3", "buy", "sell", "not", "EUR", "USD", "5", "95", "99", "AA+", "AA-"}


@pytest.mark.parametrize(("one", "other"), NEAR_MISSES)
def test_near_misses_have_different_forms(one: str, other: str) -> None:
    assert form(one) is not None
    assert form(one) != form(other)


def test_paraphrases_share_a_form_as_often_as_we_say() -> None:
    """``docs/guide/caching.md`` states the figure; below the floor, the cache would be of no use."""
    same = [pair for pair in PARAPHRASES if form(pair[0]) == form(pair[1])]
    assert len(same) == 37
    assert len(same) >= 0.6 * len(PARAPHRASES)


def test_the_sets_are_as_large_as_promised() -> None:
    assert len(set(NEAR_MISSES)) >= 120
    assert len(set(PARAPHRASES)) >= 40


@given(st.lists(WORDS, min_size=1, max_size=9), st.lists(WORDS, min_size=1, max_size=9))
def test_one_form_means_the_same_numbers_names_and_negations(one: list[str], other: list[str]) -> None:
    """Whatever words are strung together: what carries meaning is the same, and as often."""
    said, again = " ".join(one), " ".join(other)
    if form(f"What {said}?") == form(f"What {again}?"):
        assert sorted(word for word in said.replace("%", "").split() if word in MEANING) == sorted(
            word for word in again.replace("%", "").split() if word in MEANING
        )


@given(st.text(max_size=80))
def test_any_text_has_a_form_or_none(text: str) -> None:
    found = form(text)
    assert found is None or all(isinstance(word, str) for word in found)
    assert form(text) == found


@given(st.lists(WORDS, min_size=2, max_size=8), st.data())
def test_a_word_that_carries_meaning_cannot_be_left_out_or_put_twice(words: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(words) - 1))
    if words[at] in MEANING:
        whole = form("What about " + " ".join(words))
        assert form("What about " + " ".join(words[:at] + words[at + 1 :])) != whole
        assert form("What about " + " ".join([*words[:at], words[at], *words[at:]])) != whole


@pytest.mark.parametrize("text", ["", "   ", "two\nlines", "`code`", "x" * (MOST_CHARACTERS + 1)])
def test_what_is_no_single_question_has_no_form(text: str) -> None:
    assert form(text) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Was ist ein Bond?", "Was ist der Bond?"),
        ("¿Qué es un bono?", "¿Que es un bono?"),
        ("Vend-il à Paul ?", "Vend-il Paul ?"),
        ("債券とは何ですか", "株式とは何ですか"),
    ],
)
def test_other_languages_are_compared_as_they_stand(one: str, other: str) -> None:
    assert form(one) == form(f"  {one} ")
    assert form(one) != form(other)
