"""Roles and what they may."""

from __future__ import annotations

import pytest

from gateway.errors import ModelNotFound, PermissionDenied
from gateway.security.access import PERMISSIONS, ROLES, caller_for, roles_with


def test_roles_hold_known_permissions_only_and_admin_all() -> None:
    for name, granted in ROLES.items():
        assert granted <= set(PERMISSIONS), name
    assert ROLES["admin"] == set(PERMISSIONS)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("viewer", "models:read", "llm:execute"),
        ("developer", "llm:execute", "models:write"),
        ("analyst", "models:write", "keys:write"),
        ("operator", "audit:read", "models:write"),
    ],
)
def test_a_role_may_what_its_name_says(role: str, may: str, may_not: str) -> None:
    caller = caller_for("p", role)
    caller.require(may)
    with pytest.raises(PermissionDenied) as caught:
        caller.require(may_not)
    assert may_not in caught.value.message
    assert "admin" in (caught.value.mend or "")


def test_no_role_below_admin_may_everything() -> None:
    assert [name for name, granted in ROLES.items() if granted == set(PERMISSIONS)] == ["admin"]
    assert roles_with("audit:read") == ["operator", "admin"]


def test_a_key_sees_only_the_models_of_its_patterns() -> None:
    caller = caller_for("p", "developer", models=("gpt-*", "smollm2"))
    caller.require_model("gpt-4")
    caller.require_model("smollm2")
    with pytest.raises(ModelNotFound) as caught:
        caller.require_model("claude-3-opus")
    assert "claude" not in caught.value.message, "it learns nothing of what exists"


def test_what_is_whose() -> None:
    assert caller_for("alice", "viewer").may_see("alice")
    assert not caller_for("alice", "analyst").may_see("bob")
    assert caller_for("root", "operator").may_see("bob")


def test_a_role_that_is_none() -> None:
    with pytest.raises(PermissionDenied, match="roles are"):
        caller_for("p", "root")
