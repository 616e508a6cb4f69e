"""Who may do what: roles are sets of permissions; a ``Caller`` carries those of its credential."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from msgspec import Struct

from gateway.errors import ModelNotFound, PermissionDenied
from gateway.models.bound import LIMIT_FIELDS, Bound, bound_of

Role = Literal["admin", "operator", "analyst", "developer", "viewer"]

#: Every permission there is, with what it allows. A route declares one of these or is public.
PERMISSIONS: dict[str, str] = {
    "llm:execute": "call language models",
    "ml:execute": "call predictive models",
    "tasks:read": "see own tasks and their events",
    "tasks:write": "submit and cancel own tasks",
    "workflows:read": "see workflow definitions and own runs",
    "workflows:run": "start and cancel own runs",
    "workflows:write": "define workflows",
    "runs:approve": "approve or refuse steps of runs that wait for a person",
    "models:read": "see models, versions and metrics",
    "models:write": "train, register, promote and roll back models",
    "prompts:read": "see and use prompt templates",
    "prompts:write": "add prompt templates, move their labels but for production",
    "prompts:promote": "move the label production",
    "usage:read": "see own usage and cost",
    "usage:read_all": "see everybody's usage and cost",
    "ledger:correct": "book corrections of what was charged",
    "budgets:read": "see budgets",
    "budgets:write": "set budgets",
    "keys:read": "see API keys (never their secrets) and limits",
    "keys:write": "make and revoke API keys, set limits of users and teams",
    "audit:read": "read the audit trail",
    "webhooks:write": "subscribe to events by webhook, see and replay deliveries",
    "metrics:read": "read metrics and statistics",
    "runs:read_all": "see everybody's tasks and runs",
    "runs:prune": "remove runs that ended long ago",
}

_VIEW = frozenset({"tasks:read", "workflows:read", "models:read", "prompts:read", "usage:read", "metrics:read"})
_CALL = _VIEW | {"llm:execute", "ml:execute", "tasks:write", "workflows:run", "webhooks:write"}
ROLES: dict[str, frozenset[str]] = {
    "viewer": _VIEW,
    "developer": _CALL | {"prompts:write"},
    "analyst": _CALL | {"workflows:write", "prompts:write", "prompts:promote", "models:write", "runs:approve"},
    "operator": _VIEW
    | {
        "usage:read_all",
        "ledger:correct",
        "budgets:read",
        "budgets:write",
        "keys:read",
        "keys:write",
        "audit:read",
        "runs:read_all",
    }
    | {"webhooks:write", "tasks:write", "workflows:run", "runs:approve"},
    "admin": frozenset(PERMISSIONS),
}


class Caller(Struct, frozen=True, dict=True):
    """Whoever is calling, as the credential says. ``models`` are name patterns such as ``gpt-*``; ``shared`` are
    the limits of its user and team."""

    principal: str
    role: str
    permissions: frozenset[str]
    key_id: str | None = None
    name: str = ""
    team: str | None = None
    models: tuple[str, ...] = ("*",)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    project: str | None = None
    max_concurrent: int | None = None
    shared: tuple[Bound, ...] = ()

    @cached_property
    def worked_out(self) -> dict[str, Any]:
        """What was worked out about its calls and holds for all of them, by whoever needs it again: by the model's
        name. It ends with the look-up that this caller was made from."""
        return {}

    @cached_property
    def bounds(self) -> tuple[Bound, ...]:
        """All limits by the minute that its calls count against, but for the model's; put together once for a key
        that is remembered."""
        return tuple(bound for bound in self._limits if bound.in_a_minute)

    @cached_property
    def places(self) -> tuple[Bound, ...]:
        """The same of limits on calls at once."""
        return tuple(bound for bound in self._limits if bound.concurrent is not None)

    @property
    def _limits(self) -> tuple[Bound, ...]:
        own = bound_of(f"key:{self.key_id or self.principal}", {name: getattr(self, name) for name in LIMIT_FIELDS})
        return self.shared if own is None else (own, *self.shared)

    @property
    def tenant(self) -> str:
        """Whose things are shared with whom: the team's, else the principal's own."""
        return f"team:{self.team}" if self.team else f"principal:{self.principal}"

    def may(self, permission: str) -> bool:
        return permission in self.permissions

    def require(self, permission: str) -> None:
        """Raises ``PermissionDenied`` that names the missing permission."""
        if permission not in self.permissions:
            raise PermissionDenied(
                f"the role {self.role!r} lacks the permission {permission!r}",
                mend=f"ask an admin for a role that has it: {', '.join(roles_with(permission))}",
                permission=permission,
                role=self.role,
            )

    def may_use_model(self, model: str) -> bool:
        return "*" in self.models or model in self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def require_model(self, model: str) -> None:
        """Raises ``ModelNotFound`` for a model this key may not use: it learns no more than that."""
        if not self.may_use_model(model):
            raise ModelNotFound(
                "no model of that name is open to this key",
                mend="GET /models lists those you may use; an admin widens a key's model list",
                param="model",
            )

    def may_see(self, owner: str) -> bool:
        """Own things, or everybody's with ``runs:read_all``."""
        return owner == self.principal or "runs:read_all" in self.permissions


def caller_for(principal: str, role: str, **fields: object) -> Caller:
    """A caller with the permissions of ``role``."""
    if role not in ROLES:
        raise PermissionDenied(f"there is no role of that name; roles are: {', '.join(ROLES)}")
    return Caller(principal=principal, role=role, permissions=ROLES[role], **fields)  # type: ignore[arg-type]


def roles_with(permission: str) -> list[str]:
    return [name for name, granted in ROLES.items() if permission in granted]
