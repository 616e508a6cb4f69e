"""A key never exceeds its maker: not in role, principal, team, project, models or rates."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import PermissionDenied
from gateway.security.access import ROLES, Caller


def check_within(
    caller: Caller,
    role: str,
    principal: str | None,
    team: str | None,
    project: str | None,
    models: tuple[str, ...],
    limits: Mapping[str, int | None],
) -> None:
    """Raises ``PermissionDenied`` where the new key would exceed its maker."""
    beyond = sorted(ROLES[role] - caller.permissions)
    if beyond:
        raise exceeds("role", f"cannot have the role {role!r}: you lack {beyond[0]!r}")
    if principal not in (None, caller.principal) and not caller.may("runs:read_all"):
        raise exceeds("principal", "acts for yourself or for a principal of its own")
    if caller.team is not None and team not in (None, caller.team):
        raise exceeds("team", "belongs to your own team")
    if caller.project is not None and project not in (None, caller.project):
        raise exceeds("project", "belongs to your own project")
    if not all(any(_covers(wide, narrow) for wide in caller.models) for narrow in models):
        raise exceeds("models", "opens no model that is closed to you")
    for field, asked in limits.items():
        own = getattr(caller, field)
        if own is not None and asked is not None and asked > own:
            raise exceeds(field, "has no higher limit than your own")


def _covers(wide: str, narrow: str) -> bool:
    """Whether every name that ``narrow`` matches is matched by ``wide``; when in doubt, not."""
    if wide in ("*", narrow):
        return True
    head, star, tail = wide.partition("*")
    if not star or tail:
        return False
    return narrow.partition("*")[0].startswith(head)


def stricter(limits: Mapping[str, int | None], caller: Caller) -> dict[str, int | None]:
    """The limits of a new key: its maker's where none is asked."""
    return {field: getattr(caller, field) if asked is None else asked for field, asked in limits.items()}


def exceeds(field: str, rule: str) -> PermissionDenied:
    """The refusal that names the rule."""
    return PermissionDenied(f"a key {rule}", mend="ask an admin to make this key", param=field)
