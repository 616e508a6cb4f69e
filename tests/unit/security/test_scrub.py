"""Nothing that is kept holds a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.security.audit import canonical_json, draft_of
from gateway.security.scrub import REMOVED, scrub, scrub_text
from gateway.security.secret_files import secret_for

SECRETS = [
    "gw-" + "a" * 43,
    "sk-ant-" + "b" * 40,
    "sk-" + "c" * 24,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
    "Bearer abcdefghijkl",
    "AKIAABCDEFGHIJKLMNOP",
]


_WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [*SECRETS, "password", "x_key", "key_id", "postgres://me:word@host", "-----BEGIN RSA PRIVATE KEY-----"]
    ),
)
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _WORDS)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_WORDS, _VALUES, max_size=4), st.integers(0, 14))
def test_a_record_holds_what_scrubbing_leaves_whatever_is_found_sound(detail: dict[str, Any], deep: int) -> None:
    """Records of sound details are made without a scrub: they must be those that it would make."""
    nested: Any = "kept"
    for _ in range(deep):
        nested = {"in": [nested]}
    detail = {**detail, "nested": nested}
    draft = draft_of(at=1, actor="a", action="b", resource="c", outcome="d", request_id="e", detail=detail)
    assert draft.detail == canonical_json(scrub(detail)).encode("utf-8", "replace").decode()


@pytest.mark.parametrize("secret", SECRETS)
def test_by_its_look(secret: str) -> None:
    cleaned = json.dumps(scrub({"note": f"the key is {secret}, keep it", "list": [secret], secret: 1}))
    assert secret.rsplit(maxsplit=1)[-1] not in cleaned
    assert "keep it" in cleaned


@pytest.mark.parametrize(
    "name",
    ["password", "api_key", "apiKey", "x-api-key", "client_secret", "Authorization", "access_token", "private_key"],
)
def test_by_its_name(name: str) -> None:
    assert scrub({"a": {name: "hunter2"}}) == {"a": {name: REMOVED}}


def test_what_only_sounds_like_one_stays() -> None:
    kept = {
        "idempotency_key": "k-1",
        "key_id": "key_1",
        "data_hash": "abc",
        "tokens": 5,
        "max_tokens": 9,
        "password": "",
    }
    assert scrub(kept) == kept


def test_a_password_in_an_address() -> None:
    assert "hunter2" not in scrub_text("postgresql://gateway:hunter2@db/x failed")


def test_depth_and_infinity_are_bounded() -> None:
    deep: object = "x"
    for _ in range(50):
        deep = [deep]
    assert REMOVED in json.dumps(scrub(deep))
    json.dumps(scrub({"a": float("inf"), "b": float("nan")}), allow_nan=False)


def test_a_secret_of_the_data_directory_is_made_once_and_readable_by_us_alone(tmp_path: object) -> None:

    folder = Path(str(tmp_path))
    first = secret_for(folder, "jwt")
    assert secret_for(folder, "jwt") == first
    assert secret_for(folder, "audit") != first
    assert len(first) >= 32
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
