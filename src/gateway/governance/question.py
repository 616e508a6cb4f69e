"""A question's own form: two questions of one form ask the same, but for how they are put.

The rule is one of exclusion, so that a kept answer never goes to another question: everything that is
said counts (each number, name, code, unit, negation, comparison, preposition, and the order of all), but
for what ``question_words`` lists as a mere way of putting it: politeness, articles, contractions,
``the X of Y`` for ``Y's X``, ``define X`` for ``what is X``, a few synonyms, a leading ``in 2023``. Only
English is loosened so; any other text has only itself for a form.
"""

from __future__ import annotations

import re
import unicodedata

from gateway.governance.question_words import (
    ARTICLES,
    AUXILIARIES,
    BE,
    BEGINNERS,
    DO,
    ENGLISH,
    FOREIGN,
    NOT_A_NAME,
    PAST,
    PHRASES,
    REQUESTS,
    SAME,
    WH,
)

#: Longer texts are documents, not questions.
MOST_CHARACTERS = 600
_TOKEN = re.compile(
    r"""
    "[^"]*"                                             # what is quoted stays as it stands
    | (?<!\w)'[^']+'(?!\w)
    | n't\b | '(?:s|re|ve|ll|d|m)\b | '(?=\s|$)         # endings
    | [^\W_](?:(?!n't\b)\w)*(?:[-._/:@&+][^\W_]\w*)*(?:[+-]+(?=\W|$))?   # words, numbers, codes
    | \S
    """,
    re.VERBOSE,
)
_ENDINGS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would", "'m": "am", "'": "'s"}
_IS_SHORT = WH | {"it", "that", "there"}
_YEAR = re.compile(r"(?:19|20)\d\d")
_WH = "|".join(sorted(WH))
_ASK = "|".join(sorted(REQUESTS))
#: Ways of asking to be told: what stands there → what counts. Applied until nothing changes.
_FRAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), told)
    for pattern, told in (
        (r"^(?:please|kindly) ,? ?", ""),
        (r" (?:, )?(?:please|thanks|thank you)$", ""),
        (r" for me$", ""),
        (rf"^(?:can|could|would|will) you (?:please )?(?={_ASK}\b)", ""),
        (r"^i would like to know ", ""),
        (rf"^(?:i want to know|do you know) (?=(?:{_WH}) )", ""),
        (rf"^(?:tell me|explain to me|show me|explain) (?=(?:{_WH}) )", ""),
        (r"^(?:tell|show|give) me (?=the |\S+ 's )", "what is "),
        (r"^give me a summary of ", "summarise "),
        (r"^(?:explain|describe) the difference ", "what is the difference "),
        (r"^(what|who|where|when) (?!is |are |was |were |do |does |did )(.+) (is|are|was|were)$", r"\1 \3 \2"),
        (r"^(in|during) ((?:19|20)\d\d) , (.+)$", r"\3 \1 \2"),
        (r"^how (?:do|can|could) (?:i|we|one) ", "how to "),
        (r"^what is the way to ", "how to "),
        (r"^how to (?:go about )", "how to "),
    )
)
_DEFINED = tuple(
    re.compile(pattern)
    for pattern in (
        r"^what (?:is|are) meant by (?:a |an |the term )?(?P<name>.+)$",
        r"^(?:give me (?:a|the)|what is the) definition of (?:a |an |the term )?(?P<name>.+)$",
        r"^define (?:the (?:term|concept) |a |an )?(?P<name>.+)$",
        r"^what (?:do|does) (?:a |an |the term )?(?P<name>.+) mean$",
        r"^what (?:is|are) (?:a |an )?(?P<name>.+)$",
    )
)
_LONGEST_NAME = 5


def form(text: str) -> tuple[str, ...] | None:
    """The form of a question; ``None`` for a text that is no single question: too long, of several lines, code."""
    plain = unicodedata.normalize("NFC", text).strip().translate({0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"'})
    if not plain or len(plain) > MOST_CHARACTERS or "\n" in plain or "`" in plain:
        return None
    tokens = _tokens(plain)
    if not _is_english(tokens, plain):
        return ("as it stands", " ".join(plain.split()))
    said = " ".join(tokens)
    for phrase, told in PHRASES:
        said = re.sub(rf"(?<!\S){phrase}(?!\S)", told, said)
    said = _unframed(said)
    return _defined(said) or _loosened(said, question=plain.endswith("?"))


def _tokens(plain: str) -> list[str]:
    """Words and marks; the first word without its capital where it is a known one."""
    body = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain.rstrip(".?! "))
    words: list[str] = []
    for found in _TOKEN.findall(body):
        word = found
        if not words and not (found.isupper() and len(found) > 1) and found.lower() in BEGINNERS:
            word = found.lower()
        if found == "'s" and words and words[-1] in _IS_SHORT:
            word = "is"
        word = SAME.get(word, _ENDINGS.get(word, word))
        if word == "not" and words and words[-1] in ("ca", "wo"):
            words[-1] = {"ca": "can", "wo": "will"}[words[-1]]
        words.append("i" if word == "I" else word)
    return words


def _is_english(tokens: list[str], plain: str) -> bool:
    words = {token.lower() for token in tokens}
    return bool(words & ENGLISH) and not words & FOREIGN and any(character.islower() for character in plain)


def _unframed(said: str) -> str:
    for _ in _FRAMES:
        before = said
        for pattern, told in _FRAMES:
            said = pattern.sub(told, said)
        if said == before:
            break
    return said


def _defined(said: str) -> tuple[str, ...] | None:
    """The form of a question for what a thing is."""
    for pattern in _DEFINED:
        found = pattern.match(said)
        if found is not None:
            name = found["name"].split(" ")
            is_plain = pattern is _DEFINED[-1] or not any(word[:1].isupper() and word[1:].islower() for word in name)
            if is_plain and len(name) <= _LONGEST_NAME and not NOT_A_NAME & set(name):
                return ("define", *name)
    return None


def _loosened(said: str, *, question: bool) -> tuple[str, ...]:
    """The words that count, in their order, behind the kind and the time of the question."""
    words = said.split(" ")
    first = words[0]
    if first == "what" and len(words) > 1 and words[1] not in AUXILIARIES:
        words[0] = first = "which"
    kind = "asked" if first in WH else "yes or no" if first in AUXILIARIES else "said"
    if kind == "said" and question and first not in REQUESTS:
        kind = "said?"  # “Acme is exposed?” is not “Acme is exposed.”
    turned = _turned(words)
    helper = next((at for at, word in enumerate(turned) if _helps(at, word, first)), None)
    kept = [word for at, word in enumerate(turned) if at != helper and (word not in ARTICLES or _counts(words, word))]
    help_ = "" if helper is None else turned[helper]
    dated = any(_YEAR.fullmatch(word) for word in words)
    return (kind, "do" if help_ in DO else "", "then" if help_ in PAST and not dated else "", *map(_present, kept))


def _helps(at: int, word: str, first: str) -> bool:
    """Whether a word is the verb that only makes the sentence a question: it is told by kind and time alone."""
    return word in DO or (word in BE and (at == 0 or (at == 1 and first in WH)))


def _present(word: str) -> str:
    return {"is": "be", "are": "be", "am": "be", "were": "was", "does": "do"}.get(word, word)


def _counts(words: list[str], article: str) -> bool:
    """Whether an article changes what is said: ``a few`` is not ``few``."""
    return article == "a" and any(word in ("few", "little") for word in words)


def _turned(words: list[str]) -> list[str]:
    """``the X of Y`` as ``Y 's X``, where both ends are plain: the article before, one name behind."""
    at = next((at for at, word in enumerate(words) if word == "of"), None)
    if at is None:
        return words
    start = next((back for back in range(at - 1, -1, -1) if words[back] == "the"), None)
    owner = at + 1 + (words[at + 1 : at + 2] == ["the"])
    end = _end_of_name(words, owner)
    owned = words[start + 1 : at] if start is not None else []
    if start is None or end == owner or not owned or NOT_A_NAME & set(owned):
        return words
    return [*words[:start], *words[owner:end], "'s", *owned, *_turned(words[end:])]


def _end_of_name(words: list[str], start: int) -> int:
    """Where a name ends: names and codes in a row, or one common word that nothing but a preposition follows."""
    end = start
    while end < len(words) and words[end] not in NOT_A_NAME and not words[end].islower():
        end += 1
    common = end == start and end < len(words) and words[end].isalpha() and words[end] not in NOT_A_NAME
    if common and (end + 1 == len(words) or words[end + 1] in NOT_A_NAME - {"of", "and", "or", "'s"}):
        return end + 1
    return end
