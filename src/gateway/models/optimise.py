"""What may be done to save tokens of a call: asked by a model's row or by the call itself, off otherwise."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, structs

from gateway.errors import ValidationFailed

#: Ways of writing the same thing shorter, in the order in which they are applied.
METHODS = ("json", "tables", "whitespace", "repeats")
MOST_TOKENS = 10_000_000
MOST_TURNS = 2_000


class Trim(Struct, frozen=True):
    """Older exchanges are left out until the input has at most ``max_input_tokens``.

    An exchange is a turn of the user with everything that answers it. System turns and the newest
    turn of the user always stay, and so do the first ``keep_first`` exchanges, the last ``keep_last``,
    and those that hold a turn of ``pinned`` (counted from 0 without system turns, from the end below 0).
    """

    max_input_tokens: int
    keep_first: int = 0
    keep_last: int = 1
    pinned: tuple[int, ...] = ()


class Optimise(Struct, frozen=True):
    """All that is asked. ``repeat_tokens`` is the least length of a block that is told only once."""

    methods: tuple[str, ...] = ()
    repeat_tokens: int = 64
    trim: Trim | None = None
    prompt_cache: Literal["off", "auto"] = "off"


def parse_optimise(text: str, own: Optimise | None, name: str) -> Optimise | None:
    """What a call asks beside what its model's row has (``own``), as comma-separated words.

    ``compact`` is every method; a method by its name; ``trim=N`` with ``keep-first=N``, ``keep-last=N``
    and ``pin=N``; ``prompt-cache``; ``off`` (alone) for nothing at all. ``ValidationFailed`` names the
    word, under the field ``name``.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == ["off"]:
        return None
    asked = own or Optimise()
    trim = asked.trim
    turns: dict[str, int] = {}
    pins: list[int] = []
    for word in words:
        key, _, value = word.partition("=")
        if word == "compact":
            asked = structs.replace(asked, methods=METHODS)
        elif word in METHODS:
            named = {*asked.methods, word}
            asked = structs.replace(asked, methods=tuple(item for item in METHODS if item in named))
        elif word == "prompt-cache":
            asked = structs.replace(asked, prompt_cache="auto")
        elif key == "trim":
            trim = Trim(_number(value, word, name, 1, MOST_TOKENS))
        elif key in ("keep-first", "keep-last"):
            turns[key.replace("-", "_")] = _number(value, word, name, int(key == "keep-last"), MOST_TURNS)
        elif key == "pin":
            pins.append(_number(value, word, name, -MOST_TURNS, MOST_TURNS))
        else:
            raise _wrong(word, name)
    if (turns or pins) and trim is None:
        raise ValidationFailed(
            f"{name}: keep-first, keep-last and pin belong to a trim", mend="add trim=TOKENS", param=name
        )
    if trim is not None:
        trim = structs.replace(trim, pinned=(*trim.pinned, *pins), **turns)
    return structs.replace(asked, trim=trim)


def _number(value: str, word: str, name: str, low: int, high: int) -> int:
    if len(value) > 9 or not value.removeprefix("-").isascii() or not value.removeprefix("-").isdecimal():
        raise _wrong(word, name)
    if not low <= int(value) <= high:
        raise ValidationFailed(f"{name}: a number from {low} to {high} is expected after {word[:20]!r}", param=name)
    return int(value)


def _wrong(word: str, name: str) -> ValidationFailed:
    return ValidationFailed(
        f"{name}: no such word: {word[:40]!r}",
        mend=f"known: off, compact, {', '.join(METHODS)}, trim=TOKENS, keep-first=N, keep-last=N, pin=N, prompt-cache",
        param=name,
    )
