"""What is remembered of keys: only what the database told, and for how long while it is silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.ledger_house import Line
from fixtures.money_kit import SECOND, ManualClock, open_database
from gateway.errors import NotAuthenticated, Unavailable
from gateway.security.access import caller_for
from gateway.security.identity import Identity, JwtSettings
from gateway.security.key_memory import SILENCE_SECONDS
from gateway.store.engine import Database
from gateway.store.key_store import SqlKeyStore

JWT = JwtSettings(audience="gateway", issuer="https://login.example.org", secret="s" * 48)
ADMIN = caller_for("root", "admin")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_a_key_in_force_stays_so_for_minutes_where_the_database_is_silent(
    database: Database, clock: ManualClock
) -> None:
    line = Line(database)
    identity = Identity(SqlKeyStore(line), clock, jwt=JWT)
    key, secret = identity.create_key(ADMIN, name="a", role="developer")
    short = identity.create_key(ADMIN, name="b", role="developer", expires_at=clock.now() + 60 * SECOND)[1]
    unseen = identity.create_key(ADMIN, name="c", role="developer")[1]
    identity.authenticate(bearer(short))
    token = identity.mint_token(identity.authenticate(bearer(secret))).token
    identity.authenticate(bearer(token))
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer("gw-nobody"))
    line.cut_after = 0
    for _ in range(10):
        clock.pass_seconds(20)
        assert identity.authenticate(bearer(secret)).key_id == key.key_id
        assert identity.authenticate(bearer(token)).key_id == key.key_id
        assert identity.cached(bearer(secret)) is not None, "not each call asks"
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer(short))
    for nobody_knows in (unseen, "gw-nobody"):
        with pytest.raises(Unavailable):
            identity.authenticate(bearer(nobody_knows))
    clock.pass_seconds(SILENCE_SECONDS - 200)
    with pytest.raises(Unavailable):
        identity.authenticate(bearer(secret))
    line.cut_after = None
    identity.revoke_key(ADMIN, key.key_id)
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer(secret))


def test_a_key_is_remembered_only_with_what_had_to_be_asked_beside_it(database: Database, clock: ManualClock) -> None:
    identity = Identity(SqlKeyStore(database), clock)
    _, secret = identity.create_key(ADMIN, name="a", role="developer")

    def silent() -> None:
        raise Unavailable("the database does not answer")

    with pytest.raises(Unavailable):
        identity.authenticate(bearer(secret), silent)
    assert identity.cached(bearer(secret)) is None
    identity.authenticate(bearer(secret))
    assert identity.cached(bearer(secret)) is not None
