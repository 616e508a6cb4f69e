"""API keys and tokens: who comes in, and who does not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from fixtures.money_kit import SECOND, ManualClock, open_database
from gateway.errors import (
    ConfigurationInvalid,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    Unavailable,
    ValidationFailed,
)
from gateway.security.access import Caller, caller_for
from gateway.security.identity import Identity, JwtSettings, hash_key
from gateway.security.jwt_tokens import JwtVerifier
from gateway.store.engine import Database
from gateway.store.key_store import SqlKeyStore

SECRET = "s" * 48
JWT = JwtSettings(audience="gateway", issuer="https://login.example.org", secret=SECRET)
ADMIN = caller_for("root", "admin")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def identity(database: Database, clock: ManualClock) -> Identity:
    return Identity(SqlKeyStore(database), clock, jwt=JWT)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def claims(clock: ManualClock, **fields: Any) -> dict[str, Any]:
    now = clock.now() // SECOND
    standard = {"sub": "alice", "aud": "gateway", "iss": JWT.issuer, "exp": now + 600, "iat": now, "role": "analyst"}
    return {name: value for name, value in {**standard, **fields}.items() if value is not None}


def test_a_key_comes_in_by_either_header(identity: Identity) -> None:
    record, secret = identity.create_key(ADMIN, name="app", role="developer", principal="app-1", team="risk")
    for headers in (bearer(secret), {"x-api-key": secret}, {"authorization": f"bearer {secret}"}):
        caller = identity.authenticate(headers)
        assert (caller.principal, caller.role, caller.team) == ("app-1", "developer", "risk")
        assert caller.key_id == record.key_id


def test_no_secret_is_kept(identity: Identity, database: Database) -> None:
    _, secret = identity.create_key(ADMIN, name="app", role="developer")
    with database.read() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM api_key").all())
    assert secret not in rows
    assert hash_key(secret) in rows


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("gw-wrong"),
        {"authorization": "Basic YTpi"},
        {"x-api-key": "x" * 100_000},
        bearer("é\ud800"),
    ],
)
def test_anything_else_is_refused_alike(identity: Identity, headers: Mapping[str, str]) -> None:
    with pytest.raises(NotAuthenticated):
        identity.authenticate(headers)


def test_a_revoked_and_an_expired_key_stop(identity: Identity, clock: ManualClock) -> None:
    record, secret = identity.create_key(ADMIN, name="a", role="developer")
    short, secret_of_short = identity.create_key(ADMIN, name="b", role="developer", expires_at=clock.now() + 9 * SECOND)
    identity.authenticate(bearer(secret))
    identity.authenticate(bearer(secret_of_short))
    identity.revoke_key(ADMIN, record.key_id)
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer(secret))
    clock.pass_seconds(10)
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer(secret_of_short))
    assert not identity.get_key(ADMIN, short.key_id).usable(clock.now())


def test_another_process_hears_of_a_revocation_within_seconds(database: Database, clock: ManualClock) -> None:
    here, there = (Identity(SqlKeyStore(database), clock) for _ in range(2))
    record, secret = here.create_key(ADMIN, name="a", role="developer")
    there.authenticate(bearer(secret))
    here.revoke_key(ADMIN, record.key_id)
    clock.pass_seconds(3.1)
    with pytest.raises(NotAuthenticated):
        there.authenticate(bearer(secret))


def test_a_fresh_look_up_is_remembered_without_a_query(identity: Identity, clock: ManualClock) -> None:
    _, secret = identity.create_key(ADMIN, name="a", role="developer")
    assert identity.cached(bearer(secret)) is None
    identity.authenticate(bearer(secret))
    assert identity.cached(bearer(secret)) is not None
    clock.pass_seconds(4)
    assert identity.cached(bearer(secret)) is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "name"),
        ({"role": "god"}, "role"),
        ({"principal": "a b"}, "principal"),
        ({"models": ()}, "models"),
        ({"models": ("a;b",)}, "models"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": True}, "tokens_per_minute"),
        ({"expires_at": 1}, "expires_at"),
    ],
)
def test_a_wrong_wish_for_a_key_names_its_field(identity: Identity, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        identity.create_key(ADMIN, **{"name": "a", "role": "developer", **fields})
    assert caught.value.param == named


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "admin"},
        {"role": "analyst"},
        {"role": "viewer", "models": ("*",)},
        {"role": "viewer", "models": ("gpt-4", "claude-3-opus")},
        {"role": "viewer", "team": "treasury"},
    ],
)
def test_a_key_never_exceeds_its_maker(identity: Identity, fields: dict[str, Any]) -> None:
    maker = caller_for("ops", "operator", models=("gpt-*",), team="risk", requests_per_minute=10)
    with pytest.raises(PermissionDenied):
        identity.create_key(maker, **{"name": "a", "models": ("gpt-4",), **fields})


def test_a_key_takes_over_its_makers_limits(identity: Identity, clock: ManualClock) -> None:
    record, secret = identity.create_key(
        ADMIN, name="ops", role="operator", team="risk", requests_per_minute=10, expires_at=clock.now() + 60 * SECOND
    )
    maker = identity.authenticate(bearer(secret))
    child, _ = identity.create_key(maker, name="v", role="viewer", principal=maker.principal)
    assert (child.requests_per_minute, child.team, child.expires_at) == (10, "risk", record.expires_at)


def test_a_viewer_makes_no_keys(identity: Identity) -> None:
    viewer = caller_for("v", "viewer")
    for attempt in (
        lambda: identity.create_key(viewer, name="a", role="viewer"),
        lambda: identity.list_keys(viewer),
        lambda: identity.revoke_key(viewer, "key_1"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_keys_come_in_pages(identity: Identity) -> None:
    made = [identity.create_key(ADMIN, name=f"k{number}", role="viewer")[0].key_id for number in range(3)]
    page, cursor = identity.list_keys(ADMIN, limit=2)
    rest, end = identity.list_keys(ADMIN, cursor=cursor, limit=2)
    assert [record.key_id for record in [*page, *rest]] == made[::-1]
    assert end is None
    with pytest.raises(NotFound):
        identity.revoke_key(ADMIN, "key_none")


def test_the_first_admin_is_made_once(identity: Identity) -> None:
    secret = identity.ensure_admin(None)
    assert secret is not None
    assert identity.authenticate(bearer(secret)).role == "admin"
    assert identity.ensure_admin(None) is None
    assert identity.ensure_admin("x" * 40) is None
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer("x" * 40))


def test_the_operators_own_admin_key_is_taken(identity: Identity) -> None:
    with pytest.raises(ValidationFailed, match="32"):
        identity.ensure_admin("short")
    assert identity.ensure_admin("k" * 32) is None
    assert identity.authenticate({"x-api-key": "k" * 32}).role == "admin"


def test_a_minted_token_is_its_key(identity: Identity, clock: ManualClock) -> None:
    record, secret = identity.create_key(ADMIN, name="a", role="developer", models=("smollm2",))
    token = identity.mint_token(identity.authenticate(bearer(secret)))
    caller = identity.authenticate(bearer(token.token))
    assert (caller.key_id, caller.models) == (record.key_id, ("smollm2",))
    clock.pass_seconds(token.expires_in + 30)
    with pytest.raises(NotAuthenticated, match="expired"):
        identity.authenticate(bearer(token.token))


def test_a_token_of_a_revoked_key_is_refused(identity: Identity) -> None:
    record, secret = identity.create_key(ADMIN, name="a", role="developer")
    token = identity.mint_token(identity.authenticate(bearer(secret)))
    identity.revoke_key(ADMIN, record.key_id)
    with pytest.raises(NotAuthenticated):
        identity.authenticate(bearer(token.token))


def test_a_verified_token_is_remembered_for_seconds(identity: Identity, clock: ManualClock) -> None:
    token, other = (jwt.encode(claims(clock, sub=name), SECRET, "HS256") for name in ("alice", "bob"))
    assert identity.cached(bearer(token)) is None
    caller = identity.authenticate(bearer(token))
    assert identity.cached(bearer(token)) == caller
    for unknown in (other, token[:-1], f"{token}x"):
        assert identity.cached(bearer(unknown)) is None, "the whole token counts"
    clock.pass_seconds(2.9)
    assert identity.cached({"x-api-key": token}) == caller
    clock.pass_seconds(0.2)
    assert identity.cached(bearer(token)) is None


def test_a_token_is_never_remembered_past_its_end(identity: Identity, clock: ManualClock) -> None:
    token = jwt.encode(claims(clock, exp=clock.now() / SECOND + 1), SECRET, "HS256")
    identity.authenticate(bearer(token))
    clock.pass_seconds(0.9)
    assert identity.cached(bearer(token)) is not None
    clock.pass_seconds(0.1)
    assert identity.cached(bearer(token)) is None
    _, secret = identity.create_key(ADMIN, name="a", role="developer", expires_at=clock.now() + SECOND)
    minted = identity.mint_token(identity.authenticate(bearer(secret))).token
    identity.authenticate(bearer(minted))
    clock.pass_seconds(1)
    assert identity.cached(bearer(minted)) is None, "nor past the end of its key"


def test_nor_past_the_next_look_up_of_its_key(database: Database, clock: ManualClock) -> None:
    here, there = (Identity(SqlKeyStore(database), clock, jwt=JWT) for _ in range(2))
    record, secret = here.create_key(ADMIN, name="a", role="developer")
    first, second = (here.mint_token(here.authenticate(bearer(secret))).token for _ in range(2))
    there.authenticate(bearer(first))
    clock.pass_seconds(2)
    there.authenticate(bearer(second))
    here.authenticate(bearer(second))
    here.revoke_key(ADMIN, record.key_id)
    assert here.cached(bearer(second)) is None, "here at once"
    clock.pass_seconds(1)
    assert there.cached(bearer(second)) is None, "there as soon as the key itself"
    with pytest.raises(NotAuthenticated):
        there.authenticate(bearer(second))


def test_a_token_of_our_secret_comes_in_with_its_role(identity: Identity, clock: ManualClock) -> None:
    token = jwt.encode(claims(clock), SECRET, "HS256")
    caller = identity.authenticate(bearer(token))
    assert (caller.principal, caller.role) == ("alice", "analyst")


@pytest.mark.parametrize(
    "fields",
    [
        {"aud": "other"},
        {"iss": "https://evil.example.org"},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"nbf": 9_999_999_999},
        {"role": "god"},
        {"role": None},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(identity: Identity, clock: ManualClock, fields: dict[str, Any]) -> None:
    with pytest.raises((NotAuthenticated, PermissionDenied)):
        identity.authenticate(bearer(jwt.encode(claims(clock, **fields), SECRET, "HS256")))


def test_a_token_is_never_judged_by_the_algorithm_it_wishes(identity: Identity, clock: ManualClock) -> None:
    unsigned = jwt.encode(claims(clock), "", "none")
    stronger = jwt.encode(claims(clock), SECRET * 2, "HS512")
    foreign = jwt.encode(claims(clock), "f" * 48, "HS256")
    head, body, sign = jwt.encode(claims(clock, role="viewer"), SECRET, "HS256").split(".")
    forged = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged["role"] = "admin"
    changed = ".".join([head, base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode(), sign])
    for token in (unsigned, stronger, foreign, changed, "eyJ.eyJ.x", "eyJhbGciOiJIUzI1NiJ9.e30."):
        with pytest.raises(NotAuthenticated):
            identity.authenticate(bearer(token))


def test_the_secret_must_be_long() -> None:
    with pytest.raises(ConfigurationInvalid, match="32"):
        JwtVerifier(JwtSettings(audience="a", issuer="b", secret="short"), ManualClock())


class Issuer:
    """An issuer with one RSA key; counts how often it is asked."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked = 0
        self.down = False
        numbers = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.document = {"keys": [{**numbers, "kid": "k1", "use": "sig", "alg": "RS256"}]}

    def __call__(self, url: str) -> dict[str, Any]:
        self.asked += 1
        if self.down:
            raise OSError(f"{url} is away")
        return self.document

    def token(self, kid: str | None, fields: dict[str, Any]) -> str:
        return jwt.encode(fields, self.key, "RS256", headers={"kid": kid} if kid else {})


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def authenticate(identity: Identity, token: str) -> Caller:
    return identity.authenticate(bearer(token))


def test_tokens_of_an_issuer(database: Database, clock: ManualClock, issuer: Issuer) -> None:
    settings = JwtSettings(audience="gateway", issuer=JWT.issuer, jwks_url="https://login.example.org/jwks")
    identity = Identity(SqlKeyStore(database), clock, jwt=settings, jwks=issuer)
    issuer.down = True
    with pytest.raises(Unavailable):
        authenticate(identity, issuer.token("k1", claims(clock)))
    issuer.down = False
    clock.pass_seconds(31)
    assert authenticate(identity, issuer.token("k1", claims(clock))).principal == "alice"
    asked = issuer.asked
    for kid in ("k2", "k3", None):
        with pytest.raises(NotAuthenticated):
            authenticate(identity, issuer.token(kid, claims(clock)))
    assert issuer.asked == asked, "unknown keys do not make us hammer the issuer"
    with pytest.raises(NotAuthenticated):  # HS256 with the public key as its secret, the classic confusion
        authenticate(identity, jwt.encode(claims(clock), "p" * 64, "HS256", headers={"kid": "k1"}))
    issuer.down = True
    clock.pass_seconds(700)
    assert authenticate(identity, issuer.token("k1", claims(clock))).principal == "alice", "old keys stay in use"
    issuer.down = False
