"""Labels of prompts: names that point at versions, moved and rolled back, with every move on record.

A label may point at several versions by weight. Which of them answers is decided by a hash of the
prompt, the label and a key of the conversation, so that a conversation stays on its version, and
moving some weight moves no more conversations than it must.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import Conflict, NotFound, ValidationFailed

PRODUCTION = "production"
#: Labels that need the permission ``prompts:promote`` to be moved.
GUARDED = frozenset({PRODUCTION})


class Target(Struct, frozen=True):
    """A version, and its weight among the versions of a label."""

    version: int
    weight: int = 1


class LabelMove(Struct, frozen=True):
    """One move of a label; the newest of a label says where it points. ``previous`` is the revision
    that a rollback goes back to; no ``targets`` means the label is taken away."""

    name: str
    label: str
    revision: int
    targets: tuple[Target, ...]
    previous: int | None
    action: str
    by: str
    at: int
    reason: str


class SplitKey(Struct, frozen=True):
    """What a conversation is known by: its session, its user, its run, or only its request."""

    kind: str
    value: str


class LabelStore(Protocol):
    """Where moves are kept. They are never changed."""

    def label(self, name: str, label: str) -> LabelMove | None:
        """The newest move."""
        ...

    def labels(self, name: str | None = None) -> list[LabelMove]:
        """The newest move of each label, of one prompt or of all."""
        ...

    def moves(self, name: str, label: str) -> list[LabelMove]:
        """Newest first."""
        ...

    def move(self, new: LabelMove, expected: int | None) -> LabelMove | None:
        """Stores the move and its event in one commit, under the next revision; ``None``, and nothing,
        where the newest revision is not ``expected``."""
        ...


class PromptLabels:
    """Reads and moves labels."""

    def __init__(self, store: LabelStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def current(self, name: str, label: str) -> LabelMove | None:
        """Where the label points; ``None`` where it does not exist or was taken away."""
        found = self._store.label(name, label)
        return found if found is not None and found.targets else None

    def all(self, name: str | None = None) -> list[LabelMove]:
        """Every label that points somewhere."""
        return [move for move in self._store.labels(name) if move.targets]

    def history(self, name: str, label: str) -> list[LabelMove]:
        """Every move, newest first. ``NotFound`` for a label that never was."""
        moves = self._store.moves(name, label)
        if not moves:
            raise NotFound(
                f"the prompt has no label {label[:64]!r}", mend="GET /prompts/{name} lists them", param="label"
            )
        return moves

    def point(self, name: str, label: str, targets: tuple[Target, ...], by: str, reason: str) -> LabelMove:
        """Points the label at these versions, which exist."""
        before = self._store.label(name, check_label(label))
        previous = before.revision if before is not None and before.targets else None
        return self._move(name, label, targets, previous, "set", by, reason, before)

    def remove(self, name: str, label: str, by: str, reason: str) -> LabelMove:
        """Takes the label away; a rollback brings it back."""
        before = self._existing(name, label)
        return self._move(name, label, (), before.revision, "remove", by, reason, before)

    def rollback(self, name: str, label: str, by: str, reason: str, revision: int | None = None) -> LabelMove:
        """Points the label where it pointed before, or as of ``revision``. ``Conflict`` where there is nothing."""
        moves = self.history(name, label)
        by_revision = {move.revision: move for move in moves}
        wanted = moves[0].previous if revision is None else revision
        back = None if wanted is None else by_revision.get(wanted)
        if back is None or not back.targets:
            raise Conflict(
                f"the label {label!r} of {name} has nothing of that kind to go back to",
                mend="GET /prompts/{name}/labels/{label} lists its moves",
            )
        return self._move(name, label, back.targets, back.previous, "rollback", by, reason, moves[0])

    def _existing(self, name: str, label: str) -> LabelMove:
        found = self.current(name, label)
        if found is None:
            raise NotFound(
                f"the prompt has no label {label[:64]!r}", mend="GET /prompts/{name} lists them", param="label"
            )
        return found

    def _move(
        self,
        name: str,
        label: str,
        targets: tuple[Target, ...],
        previous: int | None,
        action: str,
        by: str,
        reason: str,
        before: LabelMove | None,
    ) -> LabelMove:
        new = LabelMove(name, label, 0, targets, previous, action, by, self._clock.now(), reason)
        moved = self._store.move(new, None if before is None else before.revision)
        if moved is None:
            raise Conflict(f"the label {label!r} of {name} was moved meanwhile", mend="look at it, and ask again")
        return moved


def check_label(label: str) -> str:
    """The name of a label, checked."""
    plain = label.replace("-", "_").replace(".", "_")
    if not plain.isidentifier() or len(label) > 64 or label == "latest":
        raise ValidationFailed("a label is a plain name such as production or staging", param="label")
    return label


def choose(name: str, label: str, targets: Sequence[Target], key: SplitKey) -> Target:
    """The version for this key: always the same, as long as the label is not moved."""
    if len(targets) == 1:
        return targets[0]
    digest = hashlib.sha256(f"{name}\0{label}\0{key.value}".encode("utf-8", "surrogatepass")).digest()
    total = sum(target.weight for target in targets)
    place = int.from_bytes(digest[:8], "big") * total >> 64
    for target in targets:
        place -= target.weight
        if place < 0:
            return target
    return targets[-1]
