"""How a model's text becomes tokens: which table, and the port that counts by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from gateway.models.llm_models import UsageBasis

#: Tokens of a text.
Count = Callable[[str], int]
#: The table of texts whose model publishes none: close enough to compare two ways of writing the same.
YARDSTICK = "o200k_base"
_O200K, _CL100K = "o200k_base", "cl100k_base"
_OPENAI_TYPES = frozenset({"openai", "azure_openai"})
#: Variants that hear, speak or look things up have frames of their own.
_OTHER_FRAMES = ("audio", "realtime", "search", "transcribe", "tts", "image")


class TokenRule(Struct, frozen=True):
    """How the tokens of a chat with one model are counted.

    ``published`` says that its frame of turns and tools is: then a count is exact, else about right.
    ``tool_start`` is what each tool begins with.
    """

    encoding: str
    published: bool
    tool_start: int


class TokenCount(Struct, frozen=True):
    """Tokens of an input, and who counted: the ``provider``, ``counted`` by the model's own table and
    published rule, or ``estimated``."""

    tokens: int
    basis: UsageBasis
    #: The table that was used; empty where none was.
    encoding: str = ""


class Tokenizers(Protocol):
    """Counts by name of table. Blocks, and may load the table first: call it from a thread."""

    def counter(self, encoding: str) -> Count:
        """The counter of a table."""
        ...


#: The beginning of a name, and the rule; the first that fits counts.
_RULES: tuple[tuple[str, TokenRule], ...] = (
    ("gpt-4o", TokenRule(_O200K, True, 7)),
    ("chatgpt-4o", TokenRule(_O200K, False, 7)),
    ("gpt-4.1", TokenRule(_O200K, False, 7)),
    ("gpt-4.5", TokenRule(_O200K, False, 7)),
    ("gpt-4", TokenRule(_CL100K, True, 10)),
    ("gpt-3.5-turbo", TokenRule(_CL100K, True, 10)),
    ("gpt-35-turbo", TokenRule(_CL100K, True, 10)),
    ("gpt-5", TokenRule(_O200K, False, 7)),
    ("o1", TokenRule(_O200K, False, 7)),
    ("o3", TokenRule(_O200K, False, 7)),
    ("o4", TokenRule(_O200K, False, 7)),
)


def rule_of(provider_type: str, upstream_model: str) -> TokenRule | None:
    """The rule of a model at a provider of this type; ``None`` where its table is not known."""
    if provider_type not in _OPENAI_TYPES:
        return None
    name = upstream_model.removeprefix("ft:")
    for start, rule in _RULES:
        if name == start or name.startswith((f"{start}-", f"{start}:", f"{start}.")):
            if any(word in name for word in _OTHER_FRAMES):
                return TokenRule(rule.encoding, False, rule.tool_start)
            return rule
    return None
