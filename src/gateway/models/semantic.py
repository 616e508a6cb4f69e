"""When a kept answer may go to a question that is put otherwise: what ``models.yaml`` says in ``semantic_cache``."""

from __future__ import annotations

from msgspec import Struct

#: Below this, two questions of one form are still taken for different ones.
USUAL_THRESHOLD = 0.9
#: The longest an answer is kept, in seconds.
LONGEST = 86_400


class SemanticRule(Struct, frozen=True):
    """The embedding ``model`` that compares, the cosine from which on two questions are alike, and how
    long an answer is kept (seconds)."""

    model: str
    threshold: float = USUAL_THRESHOLD
    ttl: int = 3_600
