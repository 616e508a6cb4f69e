"""The guard ``injection``: words by which a text tries to take over a model, weighed by rules.

It knows the common phrases, not the intent: who words it anew, in another language or in a code, passes.
Take it as a tripwire in what users write and tools bring in, beside narrow rights for the tools.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from gateway.models.guard import Asked, Finding

#: A text of this weight counts as an attempt where nothing else is configured.
THRESHOLD = 1.0
_LOOKED_AT = frozenset({"user", "tool"})
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
_DROPS = ("ignor", "disregard", "forget", "override", "bypass", "skip", "drop")
_DROP = r"(?:ignore|disregard|forget|override|bypass|skip|drop)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|foregoing|former|existing|original|initial)"
_ORDERS = r"(?:instructions?|prompts?|rules|directions|directives|guidelines|commands|context|messages?)"
_FREES = ("restrict", "rules", "limit", "filters", "guidelines", "censorship", "ethics")
_FREED = r"(?:restrictions|rules|limits|limitations|filters|guidelines|censorship|ethics)"
_SECRETS = r"(?:conversation|chat|history|credentials?|passwords?|api keys?|secrets?|tokens?|system prompt|contents?)"
_MODEL = r"(?:ai|llm|language model|assistant|agent|chatbot|gpt|claude)s?"
#: (what a text that trips the rule holds, weight, pattern over the text in lower case with single spaces).
_RULES: tuple[tuple[tuple[str, ...], float, str], ...] = (
    (_DROPS, 1.0, rf"{_DROP} (?:\w{{1,20}} ){{0,4}}{_BEFORE} (?:\w{{1,20}} ){{0,2}}{_ORDERS}"),
    (
        _DROPS, 1.0,
        rf"{_DROP} (?:all |any |of |your |the |my |these |those ){{1,3}}(?:system |safety |own )?{_ORDERS}",
    ),
    (("everything",), 1.0, rf"{_DROP} everything (?:you|above|before|that|i|we|so far)"),
    (
        ("do not", "don't", "stop"), 0.6,
        r"(?:do not|don't|stop) (?:follow|obey|listen to|adher\w{1,9} to|apply\w{0,9}) (?:\w{1,20} ){0,3}"
        r"(?:instructions|rules|guidelines|prompt|policy|policies)",
    ),
    (
        ("new", "updated", "real", "actual", "true"), 0.6,
        r"(?:new|updated|real|actual|true) (?:system )?(?:instructions|directives|orders|task)\b ?(?:are|is|:|follow)",
    ),
    (
        ("anweisungen", "instruktionen", "befehle", "regeln"), 1.0,
        r"(?:ignoriere?|vergiss|missachte) (?:\w{1,20} ){0,3}(?:vorherigen?|bisherigen?|obigen?|vorangegangenen?) "
        r"(?:\w{1,20} ){0,2}(?:anweisungen|instruktionen|befehle|regeln)",
    ),
    (
        ("instructions", "consignes", "règles"), 1.0,
        r"(?:ignore|ignorez|oublie|oubliez) (?:\w{1,20} ){0,3}(?:instructions|consignes|règles) "
        r"(?:précédentes|antérieures|ci-dessus)",
    ),
    (
        ("instrucciones", "órdenes", "reglas"), 1.0,
        r"(?:ignora|olvida|ignore) (?:\w{1,20} ){0,3}(?:instrucciones|órdenes|reglas) (?:anteriores|previas)",
    ),
    (
        ("prompt", "instructions", "message", "rules"), 1.0,
        r"(?:reveal|print|show|repeat|output|display|leak|tell me|give me|write out|dump) (?:\w{1,20} ){0,4}"
        r"(?:(?:system|hidden|initial|secret|developer) (?:prompt|instructions|message|rules)"
        r"|original (?:prompt|instructions))",
    ),
    (
        ("above", "before"), 0.7,
        r"(?:repeat|print|output|copy) (?:everything|all the text|the text|the words|all words) (?:above|before)",
    ),
    (
        ("you are now",), 1.0,
        r"you are now (?:in )?(?:dan\b|developer mode|jailbroken|unrestricted|free from"
        r"|an? (?:unrestricted|unfiltered|uncensored|evil))",
    ),
    (
        (" mode",), 1.0,
        r"(?:enable|activate|enter|switch to|turn on) (?:\w{1,20} ){0,2}"
        r"(?:developer|dan|jailbreak|god|unrestricted) mode",
    ),
    (
        _FREES, 0.7,
        r"(?:act|behave|respond|answer|pretend|roleplay|role-play) (?:\w{1,20} ){0,6}(?:without|no|free of|ignoring) "
        rf"(?:any |all |your )?{_FREED}",
    ),
    (
        ("do anything now", "bound by", "you have no"), 0.7,
        rf"(?:do anything now|no longer bound by|not bound by (?:any|your)|you have no {_FREED})",
    ),
    (("<", "["), 0.8, r"<\|?(?:im_start|im_end|system|endoftext|start_header_id|eot_id)\|?>|\[/?inst\]|<</?sys>>"),
    (
        (":",), 0.6,
        r"(?:^|[\n.] ?)(?:#{1,4} ?|\[|\*\*)?(?:system|developer|assistant)(?: prompt| message| override)?(?:\]|\*\*)?"
        r" ?: ?(?:you|ignore|the|from|new|all|override)",
    ),
    (
        ("begin", "start", "end"), 0.8,
        r"(?:begin|start|end)(?: of)? (?:new )?(?:system|admin|developer) (?:prompt|message|instructions?|override)",
    ),
    (
        (" to",), 0.7,
        r"(?:send|post|forward|upload|transmit|email|e-mail|exfiltrate|leak) (?:\w{1,20} ){0,6}"
        rf"{_SECRETS} (?:\w{{1,20}} ){{0,4}}to\b",
    ),
    (("](http",), 0.7, r"!\[[^\]\n]{0,80}\]\(https?://[^)\s]{1,200}[?&][^)\s]{0,60}=(?:\{|\[|<|%7b|\$)"),
    (
        ("do not", "don't", "never", "without"), 0.6,
        r"(?:do not|don't|never|without) (?:tell|mention|inform|alert|reveal|disclose|notify)\w{0,5} (?:\w{1,20} ){0,3}"
        r"(?:user|human|anyone|anybody|operator|owner|them)",
    ),
    (
        ("attention", "important", "urgent", "note"), 0.5,
        rf"(?:attention|important|urgent|note)[:!,]? ?(?:to )?(?:all |any |the )?{_MODEL}\b",
    ),
    (("you are", "you're"), 0.5, rf"(?:if|when) you(?: are|'re) (?:an? )?{_MODEL}\b"),
)  # fmt: skip
_PATTERNS = tuple((hints, weight, re.compile(pattern)) for hints, weight, pattern in _RULES)
_SPACE = re.compile(r"[ \t\r\f\v\xa0]+")
_TOO_MANY_INVISIBLE = 8


class InjectionGuard:
    """Finds ``injection`` in a user's or a tool's text whose rules weigh ``threshold`` or more together."""

    def __init__(self, *, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold

    def look(self, asked: Asked) -> Iterator[Finding]:
        """See ``models.guard.Guard``."""
        for at, item in enumerate(asked.texts):
            if item.role in _LOOKED_AT and weigh(item.text) >= self._threshold:
                yield Finding("injection", at)


def weigh(text: str) -> float:
    """The weights of all rules that the text trips, each rule once."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    bare = plain if plain.isascii() else _INVISIBLE.sub("", plain)
    weight = 0.8 if len(plain) - len(bare) > _TOO_MANY_INVISIBLE else 0.0
    lowered = _SPACE.sub(" ", bare.lower()).replace("’", "'")
    for hints, points, pattern in _PATTERNS:
        if any(hint in lowered for hint in hints) and pattern.search(lowered):
            weight += points
    return weight
