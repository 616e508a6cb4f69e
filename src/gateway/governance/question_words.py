"""The words by which two ways of asking in English may differ and still ask the same.

Whatever is not named here has to be equal. A word belongs here only where leaving it out, or putting
the other in its place, changes no answer: when in doubt, leave it out of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ARTICLES = frozenset({"the", "a", "an"})
WH = frozenset({"what", "who", "whom", "whose", "which", "when", "where", "why", "how"})
#: They begin a question that is answered by yes or no.
AUXILIARIES = frozenset(
    {"is", "are", "am", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could", "should"}
    | {"will", "would", "must", "may", "might", "shall"}
)
BE = frozenset({"is", "are", "am", "was", "were"})
DO = frozenset({"do", "does", "did"})
PAST = frozenset({"was", "were", "did"})
#: Where one of these stands, a phrase is more than the name of a thing.
NOT_A_NAME = frozenset(
    {"of", "in", "on", "at", "for", "to", "from", "by", "with", "without", "and", "or", "not", "the", "'s", ",", "than"}
    | {"between", "before", "after", "since", "until", "during", "as", "if", "this", "that", "these", "those", "it"}
    | {"my", "our", "your", "his", "her", "their", "its", "today", "now", "tomorrow", "yesterday", "new", "next"}
    | {"current", "currently", "latest", "recent", "total", "price", "cost", "amount", "balance", "status", "score"}
    | {"last", "wrong", "up", "there", "here", "worth", "most", "least", "i", "we", "you", "they", "about", "like"}
    | AUXILIARIES
    | WH
)
#: Requests that may stand behind "can you".
REQUESTS = frozenset({"tell", "explain", "show", "give", "list", "describe", "summarise", "define", "name", "compare"})
#: One word for several.
SAME: Mapping[str, str] = MappingProxyType(
    {
        "summarize": "summarise", "analyze": "analyse", "organization": "organisation", "center": "centre",
        "organizations": "organisations", "program": "programme", "optimize": "optimise", "labor": "labour",
        "calculate": "compute", "calculates": "computes", "calculated": "computed", "calculating": "computing",
        "enumerate": "list", "bigger": "larger", "biggest": "largest",
        "firm": "company", "firms": "companies",
        "begin": "start", "begins": "starts", "began": "started", "increase": "rise", "increases": "rises",
        "quickest": "fastest", "assist": "help", "require": "need", "requires": "needs", "has": "have",
        "%": "percent", "e-mail": "email",
    }
)  # fmt: skip
#: One phrase for several; read in this order, each on whole words.
PHRASES: tuple[tuple[str, str], ...] = (
    ("per cent", "percent"),
    ("chief executive officer", "CEO"),
    ("chief financial officer", "CFO"),
    ("greenhouse gas", "GHG"),
    ("value at risk", "VaR"),
    ("value-at-risk", "VaR"),
    ("carbon dioxide", "CO2"),
)
#: Words of other languages that English sentences rarely have: such texts are compared as they stand.
FOREIGN = frozenset(
    {"der", "die", "das", "und", "ist", "sind", "nicht", "ein", "eine", "mit", "von", "wie", "warum", "welche", "wer"}
    | {"le", "la", "les", "des", "du", "et", "est", "une", "pour", "dans", "quel", "quelle", "pourquoi", "comment"}
    | {"el", "los", "las", "una", "que", "qué", "por", "cuál", "cómo", "quién", "il", "che", "di", "perché", "qual"}
    | {"het", "een", "van", "och", "att", "de", "o", "os", "um", "uma", "não", "é", "w", "jest", "nie"}
)
ENGLISH = WH | BE | DO | ARTICLES | REQUESTS | frozenset({"of", "in", "and", "to", "for", "please", "can", "could"})
#: Words that are these words also with a capital, where they begin a text.
#: “A” alone may be a grade.
BEGINNERS = (
    (ENGLISH - {"a"}) | AUXILIARIES | frozenset(SAME) | frozenset({"i", "we", "during", "kindly", "my", "our", "all"})
)
