"""JSON Web Tokens: HS256 under our own secret, RS256 under keys published at a JWKS address.

The algorithm is chosen by us: a token that names HS256 is only ever checked with the secret, one
that names RS256 only ever with an RSA key of the JWKS, anything else (``none`` first) is refused.
``exp``, ``aud``, ``iss`` and ``sub`` must all be there.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jwt
from msgspec import Struct

from gateway.clock import SECOND, Clock
from gateway.errors import ConfigurationInvalid, GatewayError, NotAuthenticated, Unavailable
from gateway.ids import new_id

MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048
_LONGEST = 8192
_REQUIRED = ["exp", "aud", "iss", "sub"]


class JwtSettings(Struct, frozen=True):
    """How tokens are checked. At least one of ``secret`` (HS256) and ``jwks_url`` (RS256) is set.

    ``leeway`` (seconds) forgives clocks that differ; a minted token lasts ``lifetime`` seconds.
    """

    audience: str
    issuer: str
    secret: str = ""
    jwks_url: str = ""
    leeway: int = 10
    lifetime: int = 900


class JwksFetcher(Protocol):
    """Gets a JWKS document. Blocks; any ``GatewayError`` or ``OSError`` means: not now."""

    def __call__(self, url: str) -> Mapping[str, Any]: ...


class JwksCache:
    """The RSA keys of a JWKS address, by ``kid``: fetched when first needed and again every
    ``keep_seconds``; an unknown ``kid`` makes it look again, but not more often than every
    ``retry_seconds``, so that forged tokens cannot make us hammer the issuer. Keys that could not
    be fetched anew stay in use."""

    def __init__(
        self, url: str, fetch: JwksFetcher, clock: Clock, *, keep_seconds: float = 600, retry_seconds: float = 30
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keep = keep_seconds
        self._retry = retry_seconds
        self._keys: dict[str, Any] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._lock = threading.Lock()

    def key(self, kid: str) -> Any:
        """The public key ``kid``. ``NotAuthenticated``: no such key; ``Unavailable``: never fetched."""
        with self._lock:
            now = self._clock.monotonic()
            stale = self._fetched is None or now - self._fetched >= self._keep
            if (stale or kid not in self._keys) and (self._tried is None or now - self._tried >= self._retry):
                self._tried = now
                self._refresh(now)
            if kid in self._keys:
                return self._keys[kid]
            if self._fetched is None:
                raise Unavailable("the keys that sign tokens cannot be fetched", retry_after=5.0)
        raise refused("its signing key is not known")

    def _refresh(self, now: float) -> None:
        try:
            document = self._fetch(self._url)
        except (GatewayError, OSError):
            return  # the caller sees it: either an old key serves, or Unavailable is raised
        keys = {}
        found = document.get("keys")
        for item in found if isinstance(found, Sequence) else ():
            key = _rsa_key(item)
            if key is not None:
                keys[str(item["kid"])] = key
        self._keys, self._fetched = keys, now


class JwtVerifier:
    """Checks tokens and, where there is a secret, mints them."""

    def __init__(self, settings: JwtSettings, clock: Clock, fetch: JwksFetcher | None = None) -> None:
        if settings.secret and len(settings.secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationInvalid(
                f"the secret that signs tokens is shorter than {MIN_SECRET_BYTES} bytes",
                mend="set GATEWAY_JWT_SECRET to 32 or more random bytes (openssl rand -hex 32)",
            )
        if not (settings.audience and settings.issuer):
            raise ConfigurationInvalid(
                "tokens need an audience and an issuer", mend="set GATEWAY_JWT_AUDIENCE, _ISSUER"
            )
        self._settings = settings
        self._clock = clock
        self._jwks = JwksCache(settings.jwks_url, fetch, clock) if settings.jwks_url and fetch is not None else None

    @property
    def can_mint(self) -> bool:
        return bool(self._settings.secret)

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that holds; ``NotAuthenticated`` says what is wrong with any other."""
        if len(token) > _LONGEST:
            raise refused("it is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise refused("it cannot be read") from None
        algorithm = header.get("alg")
        key: Any
        if algorithm == "HS256" and self._settings.secret:
            key = self._settings.secret
        elif algorithm == "RS256" and self._jwks is not None:
            kid = header.get("kid")
            if not isinstance(kid, str) or not kid:
                raise refused("it does not name its signing key (kid)")
            key = self._jwks.key(kid)
        else:
            raise refused("its algorithm is not accepted here")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway,
                # Times are checked below, against our own clock.
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise refused(f"it lacks the claim {error.claim!r}") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise refused("it is meant for somebody else (aud or iss)") from None
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise refused("its signature or its claims do not hold") from None
        self._check_times(claims)
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 200:
            raise refused("its subject is not a name")
        return claims

    def mint(self, subject: str, claims: Mapping[str, Any]) -> tuple[str, int]:
        """A signed token for ``subject`` and its lifetime in seconds."""
        if not self.can_mint:
            raise NotAuthenticated("this gateway mints no tokens", mend="set GATEWAY_JWT_SECRET")
        now = self._clock.now() // SECOND
        payload = {
            **claims,
            "sub": subject,
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "iat": now,
            "exp": now + self._settings.lifetime,
            "jti": new_id("jwt"),
        }
        return jwt.encode(payload, self._settings.secret, algorithm="HS256"), self._settings.lifetime

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now() / SECOND
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in times.values()):
            raise refused("its times are not numbers")
        if not now < times["exp"] + self._settings.leeway:
            raise refused("it has expired")
        if not all(times[name] <= now + self._settings.leeway for name in ("nbf", "iat") if name in times):
            raise refused("it is not valid yet")


def refused(why: str) -> NotAuthenticated:
    """The one refusal of every bad token."""
    return NotAuthenticated(f"the token is refused: {why}", mend="get a new token, or send an API key")


def _rsa_key(item: Any) -> Any:
    """The RSA public key of a JWKS item meant for RS256 signatures, else ``None``."""
    if not isinstance(item, Mapping) or item.get("kty") != "RSA" or not isinstance(item.get("kid"), str):
        return None
    if item.get("use", "sig") != "sig" or item.get("alg", "RS256") != "RS256":
        return None
    try:
        key = jwt.PyJWK({"alg": "RS256", **{name: item[name] for name in ("kty", "n", "e")}}).key
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        return None
    return key if key.key_size >= MIN_RSA_BITS else None
