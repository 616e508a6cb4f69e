"""Who is calling: API keys and tokens become a ``Caller``; keys are made, listed and revoked.

A key is ``gw-`` and 256 random bits; only its SHA-256 is kept, and it is shown once. Look-ups are
remembered for a few seconds by that whole hash, so a revoked key stops within them, everywhere; so
are tokens that were verified. A token minted from a key is good only while that key is, and carries
the key's own limits.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import SECOND, Clock
from gateway.errors import NotAuthenticated, NotFound, ValidationFailed
from gateway.ids import new_id
from gateway.models.bound import LIMIT_FIELDS, Bound, misfit
from gateway.security.access import ROLES, Caller, caller_for
from gateway.security.jwt_tokens import JwksFetcher, JwtSettings, JwtVerifier, refused
from gateway.security.key_bounds import check_within, exceeds, stricter
from gateway.security.key_memory import KeyMemory
from gateway.security.token_memory import TokenMemory

__all__ = ["Identity", "JwtSettings", "KeyRecord", "KeyStore", "MintedToken", "hash_key"]

_LONGEST_KEY = 512
_SHORTEST_ADMIN_KEY = 32
_CACHE_SIZE = 10_000
_PATTERN = re.compile(r"[A-Za-z0-9._:/@+*-]{1,200}")
_PRINCIPAL = re.compile(r"[A-Za-z0-9._:/@+|=-]{1,200}")
_KEY_CLAIM = "gateway_key"
_NOBODY = caller_for("", "viewer")


class KeyRecord(Struct, frozen=True):
    """What is known of an API key; never the key itself. ``hint`` is its last four characters."""

    key_id: str
    hint: str
    name: str
    role: str
    principal: str
    team: str | None
    models: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    created_by: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    project: str | None = None
    max_concurrent: int | None = None
    #: The limits of its user and team, where it was looked up for a call.
    shared: tuple[Bound, ...] = ()

    def usable(self, now: int) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyStore(Protocol):
    """Where keys are kept, by the SHA-256 (hex) of the whole key."""

    def by_hash(self, key_hash: str) -> KeyRecord | None: ...

    def insert(self, record: KeyRecord, key_hash: str) -> bool:
        """False, and nothing stored, where that key is there already."""
        ...

    def get(self, key_id: str) -> KeyRecord | None: ...

    def shared(self, principal: str, team: str | None) -> tuple[Bound, ...]:
        """The limits that are set for that user and that team."""
        ...

    def list(self, after: str | None, limit: int) -> list[KeyRecord]:
        """By key id, newest first, starting after ``after``."""
        ...

    def revoke(self, key_id: str, at: int) -> bool:
        """True if it was not revoked before."""
        ...

    def any_admin(self, now: int) -> bool:
        """Whether a usable admin key exists."""
        ...


class _Shared(Struct, frozen=True):
    """The limits of the user and the team that a token names."""

    bounds: tuple[Bound, ...]
    expires_at: None = None

    def usable(self, _now: int) -> bool:
        return True


class MintedToken(Struct, frozen=True):
    """A short-lived token and how many seconds it lasts."""

    token: str
    expires_in: int


class Identity:
    """Turns credentials into callers. Every method may block on the store: call it from a thread.

    A look-up is remembered for ``cache_seconds``; ``jwks`` fetches the issuer's keys where
    ``jwt.jwks_url`` is set.
    """

    def __init__(
        self,
        keys: KeyStore,
        clock: Clock,
        *,
        jwt: JwtSettings | None = None,
        jwks: JwksFetcher | None = None,
        cache_seconds: float = 3.0,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._tokens = JwtVerifier(jwt, clock, jwks) if jwt is not None else None
        self._cache_seconds = cache_seconds
        self._remembered = KeyMemory(clock, cache_seconds, _caller_of_key)
        self._verified = TokenMemory(clock)
        self._shared = KeyMemory(clock, cache_seconds, lambda _: _NOBODY)

    # -- who calls --------------------------------------------------------------------------------

    def authenticate(self, headers: Mapping[str, str], after: Callable[[], object] = list) -> Caller:
        """The caller of a request, by its headers (names in lower case). ``after`` is called when a key was
        looked up, before it is remembered.

        ``Authorization: Bearer`` (a key or a token) or ``x-api-key``; the first wins where both come.
        ``NotAuthenticated`` is the same for a key that never was, is revoked or has expired.
        """
        credential = _credential(headers)
        if self._tokens is not None and credential.startswith("eyJ") and credential.count(".") == 2:
            return self._caller_of_token(credential, after)
        _, record = self._remembered.look_up(hash_key(credential), self._keys.by_hash, after)
        if record is None or not record.usable(self._clock.now()):
            raise NotAuthenticated(
                "no valid credential came with the request",
                mend="send 'Authorization: Bearer <key>' or 'x-api-key: <key>' with a key that is in force",
            )
        return _caller_of_key(record)

    def cached(self, headers: Mapping[str, str]) -> Caller | None:
        """The caller, if a fresh look-up of its key or proof of its token is remembered: never blocks."""
        try:
            digest = hash_key(_credential(headers))
        except NotAuthenticated:
            return None
        known, caller = self._remembered.find(digest)
        return caller if known else self._verified.find(digest)

    def mint_token(self, caller: Caller) -> MintedToken:
        """A short token for whoever shows an API key. ``NotAuthenticated`` for a caller without one,
        or where tokens have no secret here."""
        if self._tokens is None or caller.key_id is None:
            raise NotAuthenticated("a token is minted for an API key only", mend="send an API key")
        token, lifetime = self._tokens.mint(caller.principal, {_KEY_CLAIM: caller.key_id, "role": caller.role})
        return MintedToken(token, lifetime)

    # -- keys -------------------------------------------------------------------------------------

    def create_key(
        self,
        caller: Caller,
        *,
        name: str,
        role: str,
        principal: str | None = None,
        team: str | None = None,
        project: str | None = None,
        models: tuple[str, ...] = ("*",),
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        max_concurrent: int | None = None,
        expires_at: int | None = None,
        before_insert: Callable[[str], object] | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key and its secret, which is shown this once.

        Without ``principal`` the key is a principal of its own. A key never exceeds its maker: not in
        role, models, rates, team, project or life. ``before_insert`` is called with the new key's id after all
        checks and before the key works (to set its budget first); what it raises stops the making.
        """
        caller.require("keys:write")
        now = self._clock.now()
        key_id = new_id("key")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= 100:
            raise ValidationFailed("a key needs a name of at most 100 characters", param="name")
        if role not in ROLES:
            raise ValidationFailed(f"role is one of: {', '.join(ROLES)}", param="role")
        for value, field in ((principal, "principal"), (team, "team"), (project, "project")):
            if value is not None and not _PRINCIPAL.fullmatch(value):
                raise ValidationFailed(f"{field} is a name of letters, digits and ._:/@+|=-", param=field)
        if not models or not all(isinstance(item, str) and _PATTERN.fullmatch(item) for item in models):
            raise ValidationFailed("models is a list of model names, where * stands for anything", param="models")
        limits = dict(zip(LIMIT_FIELDS, (requests_per_minute, tokens_per_minute, max_concurrent), strict=True))
        for field, limit in limits.items():
            if misfit(limit):
                raise ValidationFailed(f"{field} is a whole number above 0", param=field)
        if expires_at is not None and expires_at <= now:
            raise ValidationFailed("expires_at is in the past", param="expires_at")
        maker = self._keys.get(caller.key_id) if caller.key_id else None
        if maker is not None and maker.expires_at is not None:
            if expires_at is not None and expires_at > maker.expires_at:
                raise exceeds("expires_at", "lives no longer than your own key")
            expires_at = maker.expires_at if expires_at is None else expires_at
        check_within(caller, role, principal, team, project, models, limits)
        limits = stricter(limits, caller)
        secret = "gw-" + secrets.token_urlsafe(32)
        record = KeyRecord(
            key_id=key_id,
            hint=secret[-4:],
            name=name.strip(),
            role=role,
            principal=principal or key_id,
            team=team if team is not None else caller.team,
            models=tuple(models),
            requests_per_minute=limits["requests_per_minute"],
            tokens_per_minute=limits["tokens_per_minute"],
            max_concurrent=limits["max_concurrent"],
            created_by=caller.principal,
            created_at=now,
            expires_at=expires_at,
            project=project if project is not None else caller.project,
        )
        if before_insert is not None:
            before_insert(key_id)
        self._keys.insert(record, hash_key(secret))
        return record, secret

    def list_keys(
        self, caller: Caller, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[KeyRecord], str | None]:
        """A page of keys, newest first, and the cursor of the next page if there is one."""
        caller.require("keys:read")
        found = self._keys.list(cursor, limit + 1)
        page = found[:limit]
        return page, page[-1].key_id if len(found) > limit else None

    def get_key(self, caller: Caller, key_id: str) -> KeyRecord:
        """One key; ``NotFound`` otherwise."""
        caller.require("keys:read")
        record = self._keys.get(key_id)
        if record is None:
            raise NotFound("no key has that id", param="key_id")
        return record

    def revoke_key(self, caller: Caller, key_id: str) -> KeyRecord:
        """Ends a key: here at once, in other processes within the few seconds look-ups are kept.

        A key that makes keys and can do more than the caller is out of reach (``PermissionDenied``).
        """
        caller.require("keys:write")
        record = self._keys.get(key_id)
        if record is None:
            raise NotFound("no key has that id", param="key_id")
        granted = ROLES.get(record.role, frozenset())
        if "keys:write" in granted and not granted <= caller.permissions:
            raise exceeds("key_id", "of a role beyond your own is revoked by an admin only")
        self._keys.revoke(key_id, self._clock.now())
        self.forget()
        return self._keys.get(key_id) or record

    def ensure_admin(self, secret: str | None) -> str | None:
        """Makes the first admin key where no usable one exists.

        A given ``secret`` (32 characters or more) becomes that key; without one a key is made and
        returned, this once. ``None`` where there was nothing to make or the secret was given.
        """
        now = self._clock.now()
        if self._keys.any_admin(now):
            return None
        secret = secret.strip() if secret else None
        if secret is not None and not _SHORTEST_ADMIN_KEY <= len(secret) <= _LONGEST_KEY:
            raise ValidationFailed("the admin key has from 32 to 512 characters", param="GATEWAY_ADMIN_KEY")
        value = secret or "gw-" + secrets.token_urlsafe(32)
        record = KeyRecord(
            key_id=new_id("key"),
            hint=value[-4:],
            name="first admin",
            role="admin",
            principal="admin",
            team=None,
            models=("*",),
            requests_per_minute=None,
            tokens_per_minute=None,
            created_by="gateway",
            created_at=now,
        )
        stored = self._keys.insert(record, hash_key(value))
        self._remembered.clear()
        return value if stored and secret is None else None

    def forget(self) -> None:
        """Every key and every limit is looked up anew."""
        self._remembered.clear()
        self._verified.clear()
        self._shared.clear()

    # -- inside -----------------------------------------------------------------------------------

    def _caller_of_token(self, token: str, after: Callable[[], object]) -> Caller:
        if self._tokens is None:
            raise refused("no tokens are taken here")
        claims = self._tokens.claims(token)
        key_id, until, expires_at = claims.get(_KEY_CLAIM), self._clock.monotonic() + self._cache_seconds, math.inf
        if key_id is None:
            caller = _caller_of_claims(claims)
            principal, team = caller.principal, caller.team
            limited = f"{principal}\n{team or ''}"
            fresh, told = self._shared.look_up(limited, lambda _: _Shared(self._keys.shared(principal, team)), after)
            caller, until = replace(caller, shared=() if told is None else told.bounds), min(until, fresh)
        else:
            fresh, record = self._remembered.look_up(f"id:{key_id}", lambda _: self._keys.get(str(key_id)), after)
            if record is None or not record.usable(self._clock.now()):
                raise refused("the key it was minted from is not in force")
            caller, until = _caller_of_key(record), min(until, fresh)
            expires_at = math.inf if record.expires_at is None else record.expires_at
        self._verified.keep(hash_key(token), caller, until, min(expires_at, claims["exp"] * SECOND))
        return caller


def hash_key(secret: str) -> str:
    """SHA-256 of the whole key, hex: a key has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _credential(headers: Mapping[str, str]) -> str:
    given = headers.get("authorization", "")
    if given.startswith("Bearer ") and 7 < len(given) <= _LONGEST_KEY:
        credential = given[7:].strip()
        if credential:
            return credential
    scheme, _, value = given.strip().partition(" ")
    credential = value.strip() if scheme.lower() == "bearer" else ""
    credential = credential or headers.get("x-api-key", "").strip()
    if not credential or (len(credential) > _LONGEST_KEY and not credential.startswith("eyJ")):
        raise NotAuthenticated(
            "no valid credential came with the request",
            mend="send 'Authorization: Bearer <key>' or 'x-api-key: <key>' with a key that is in force",
        )
    return credential


def _caller_of_key(record: KeyRecord) -> Caller:
    return caller_for(
        record.principal,
        record.role,
        key_id=record.key_id,
        name=record.name,
        team=record.team,
        models=record.models,
        requests_per_minute=record.requests_per_minute,
        tokens_per_minute=record.tokens_per_minute,
        project=record.project,
        max_concurrent=record.max_concurrent,
        shared=record.shared,
    )


def _caller_of_claims(claims: Mapping[str, Any]) -> Caller:
    role, team, models, name = (
        claims.get("role"),
        claims.get("team"),
        claims.get("models", ["*"]),
        claims.get("name", ""),
    )
    if not isinstance(role, str) or role not in ROLES:
        raise refused("its role is not one that this gateway knows")
    project = claims.get("project")
    if team is not None and not isinstance(team, str):
        raise refused("its team is not a name")
    if project is not None and not isinstance(project, str):
        raise refused("its project is not a name")
    if not isinstance(models, list) or not all(isinstance(item, str) and _PATTERN.fullmatch(item) for item in models):
        raise refused("its models are not a list of names")
    return caller_for(
        str(claims["sub"]),
        role,
        team=team,
        project=project,
        models=tuple(models),
        name=name if isinstance(name, str) else "",
    )
