"""The guards of one model, one after another: what each finds, and what is done about it.

A verdict names the guard, the stage, what was done, the kinds, the places and how many; never the value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.errors import GuardBlocked
from gateway.governance.chat_texts import Found, images_of, texts_of, walk_chat, walk_reply
from gateway.governance.credentials import CredentialFinder
from gateway.governance.finder_guard import FinderGuard
from gateway.governance.injection import InjectionGuard
from gateway.governance.limits_guard import LimitsGuard
from gateway.governance.pii import PiiFinder
from gateway.governance.placeholders import Vault
from gateway.governance.schema_guard import SchemaGuard
from gateway.models.guard import Asked, Finding, Guard, GuardSpec, GuardText, Stage, Where, load_guard
from gateway.models.guard_kinds import CREDENTIALS, PERSONAL_DATA
from gateway.models.llm_models import Chat, Reply

Verdict = dict[str, Any]
_DONE = {"block": "blocked", "redact": "redacted", "flag": "flagged"}
_MOST_PLACES = 20
_MENDS: Mapping[str, str] = {
    "limits": "send less, or leave out what is not allowed here",
    "pii": "leave the personal data out",
    "secrets": "take the credential out, and replace it wherever it is in use",
    "injection": "leave out the instructions to the model",
    "output": "ask for something else, or for less",
}


class Hook(NamedTuple):
    """A guard, ready, with what the configuration says about it."""

    spec: GuardSpec
    guard: Guard


class Chain:
    """The hooks of one model. Raises ``ConfigurationInvalid`` for a guard that is not installed."""

    def __init__(self, specs: Sequence[GuardSpec]) -> None:
        hooks = [Hook(spec, make_guard(spec)) for spec in specs if spec.guard != "schema"]
        self.inputs = tuple(hook for hook in hooks if "input" in hook.spec.stages)
        self.outputs = tuple(hook for hook in hooks if "output" in hook.spec.stages)
        self.schema_spec = next((spec for spec in reversed(specs) if spec.guard == "schema"), None)
        self.schema = None if self.schema_spec is None else SchemaGuard(**self.schema_spec.options)

    def read_chat(self, chat: Chat, verdicts: list[Verdict]) -> tuple[Chat, Vault]:
        """The chat as it may go on, and what was taken out of it. ``verdicts`` are added to, also where
        ``GuardBlocked`` is raised."""
        found = texts_of(chat)
        asked = Asked([item.text for item in found], len(chat.messages), images_of(chat))
        vault = Vault(item.text.text for item in found)
        fresh = self.read_texts(asked, [item.signed for item in found], vault, verdicts)
        changed = _changes(found, fresh)
        if not changed:
            return chat, vault
        return walk_chat(chat, lambda text, _place, _role, signed: changed.get((text, signed), text)), vault

    def read_texts(self, asked: Asked, signed: Sequence[bool], vault: Vault, verdicts: list[Verdict]) -> list[str]:
        """The texts as they may go on."""
        for hook in self.inputs:
            findings = _look(hook, "input", asked)
            if not findings:
                continue
            note(verdicts, hook.spec, "input", asked, findings)
            if hook.spec.action == "redact":
                restore = bool(hook.spec.options.get("restore", True))
                asked = Asked(
                    _redacted(asked.texts, signed, findings, vault, restore=restore), asked.turns, asked.images
                )
        return [item.text for item in asked.texts]

    def read_reply(self, reply: Reply, verdicts: list[Verdict]) -> Reply:
        """The answer as it may go on. Raises ``GuardBlocked``. What is taken out of an answer gets its
        kind in its place (``[EMAIL]``), and nothing puts it back."""
        for hook in self.outputs:
            texts = _texts_of(reply)
            asked = Asked(texts)
            findings = _look(hook, "output", asked)
            if not findings:
                continue
            note(verdicts, hook.spec, "output", asked, findings)
            if hook.spec.action == "redact":
                reply = _with_texts(reply, _replaced(texts, findings, lambda kind, _value, _at: label(kind)))
        return reply


def make_guard(spec: GuardSpec) -> Guard:
    """The guard of a row."""
    options = spec.options
    if spec.guard == "pii":
        return FinderGuard(PiiFinder(options.get("kinds", PERSONAL_DATA), options.get("terms", ())))
    if spec.guard == "secrets":
        return FinderGuard(CredentialFinder(options.get("kinds", CREDENTIALS)))
    if spec.guard == "injection":
        return InjectionGuard(**options)
    if spec.guard in ("limits", "output"):
        return LimitsGuard(**options)
    return load_guard(str(options["name"]), options.get("options", {}))


def label(kind: str) -> str:
    """What stands in an answer in the place of something of that kind."""
    return f"[{kind.upper()}]"


def note(verdicts: list[Verdict], spec: GuardSpec, stage: Stage, asked: Asked, findings: Sequence[Finding]) -> None:
    """Adds the verdict; ``GuardBlocked`` where the guard blocks."""
    distinct = {
        (item.kind, asked.texts[item.at].text[item.start : item.end] if item.end else item.at) for item in findings
    }
    places = list(dict.fromkeys(asked.texts[item.at].place for item in findings if item.at >= 0))
    verdicts.append(verdict(spec, stage, Counter(kind for kind, _ in distinct), places))
    if spec.action == "block":
        raise blocked(spec, stage, sorted({item.kind for item in findings}), places)


def verdict(spec: GuardSpec, stage: Stage, kinds: Mapping[str, int], places: Iterable[str]) -> Verdict:
    """The line of the record."""
    return {
        "guard": spec.name,
        "stage": stage,
        "done": _DONE[spec.action],
        "count": sum(kinds.values()),
        "kinds": sorted(kinds),
        "places": list(places)[:_MOST_PLACES],
    }


def blocked(spec: GuardSpec, stage: Stage, kinds: list[str], places: Sequence[str], mend: str = "") -> GuardBlocked:
    """The refusal: which guard, what kind of thing, and where."""
    where = f" in {', '.join(places[:3])}" if places else ""
    what = "request" if stage == "input" else "answer"
    more: dict[str, Any] = {"reached": True} if stage == "output" else {}
    return GuardBlocked(
        f"the guard {spec.name!r} does not let this {what} pass: {', '.join(kinds)}{where}",
        mend=mend or _MENDS.get(spec.guard, ""),
        param=places[0] if places and stage == "input" else None,
        guard=spec.name,
        stage=stage,
        kinds=kinds,
        places=list(places)[:_MOST_PLACES],
        **more,
    )


def _look(hook: Hook, stage: Stage, asked: Asked) -> list[Finding]:
    """What the guard finds; a guard that fails lets nothing pass."""
    try:
        findings = list(hook.guard.look(asked))
    except Exception as error:  # anybody's code: the call is refused, and says by whom
        raise blocked(
            hook.spec, stage, [f"it failed ({type(error).__name__})"], [], mend="see to that guard"
        ) from error
    return [item for item in findings if -1 <= item.at < len(asked.texts)]


def _changes(found: Sequence[Found], fresh: Sequence[str]) -> dict[tuple[str, bool], str]:
    pairs = zip(found, fresh, strict=True)
    return {(item.text.text, item.signed): text for item, text in pairs if text != item.text.text}


def _redacted(
    texts: Sequence[GuardText], signed: Sequence[bool], findings: Sequence[Finding], vault: Vault, *, restore: bool
) -> list[GuardText]:
    """Placeholders in the place of what was found; signed texts change only where earlier ones did."""
    unsigned = [item for item in findings if item.at >= 0 and not signed[item.at]]
    fresh = _replaced(texts, unsigned, lambda kind, value, at: vault.name(kind, value, at=at, restore=restore))
    swept = (
        vault.known_before(text, at) if signed[at] else vault.sweep(text) if vault else text
        for at, text in enumerate(fresh)
    )
    return [
        item if text == item.text else GuardText(item.place, item.role, text)
        for item, text in zip(texts, swept, strict=True)
    ]


def _replaced(
    texts: Sequence[GuardText], findings: Sequence[Finding], name: Callable[[str, str, int], str]
) -> list[str]:
    """The texts with ``name(kind, value, at)`` in the place of each finding that is a stretch."""
    by_text: dict[int, list[Finding]] = {}
    for item in findings:
        if 0 <= item.at < len(texts) and 0 <= item.start < item.end <= len(texts[item.at].text):
            by_text.setdefault(item.at, []).append(item)
    fresh = [item.text for item in texts]
    for at in sorted(by_text):
        text, pieces, done = fresh[at], [], 0
        for item in sorted(by_text[at], key=lambda found: found.start):
            if item.start >= done:
                pieces += [text[done : item.start], name(item.kind, text[item.start : item.end], at)]
                done = item.end
        fresh[at] = "".join([*pieces, text[done:]])
    return fresh


def _texts_of(reply: Reply) -> list[GuardText]:
    texts: list[GuardText] = []

    def keep(text: str, place: str, role: Where, _signed: bool) -> str:
        texts.append(GuardText(place, role, text))
        return text

    walk_reply(reply, keep)
    return texts


def _with_texts(reply: Reply, texts: Sequence[str]) -> Reply:
    """The answer with these texts in the order of the walk; what the provider wrote goes where one changed."""
    fresh = iter(texts)
    changed = walk_reply(reply, lambda text, *_: text if (new := next(fresh)) == text else new)
    return reply if changed is reply else msgspec.structs.replace(changed, native=None)
