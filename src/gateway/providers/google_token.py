"""Access tokens of a Google service account: a signed assertion is exchanged, and kept until shortly before its end.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec

from gateway.clock import SECOND, Clock
from gateway.errors import ConfigurationInvalid, UpstreamAccountRefused
from gateway.providers.http_target import target_of
from gateway.providers.transport import Transport
from gateway.registry.catalogue import Timeouts

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFETIME = 3600
#: A token is renewed this many seconds before it runs out.
_EARLY = 300
_QUICK = Timeouts(connect=5, first_byte=10, idle=10, total=20)


class GoogleToken:
    """Of the service account whose key file is at ``path``. Belongs to one event loop."""

    def __init__(self, path: str, transport: Transport, clock: Clock, proxy: str = "") -> None:
        self._path = path
        self._proxy = proxy
        self._transport = transport
        self._clock = clock
        self._token = ""
        self._good_until = 0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """A token that is good now. ``UpstreamAccountRefused`` where Google gives none."""
        async with self._lock:
            now = self._clock.now() // SECOND
            if now >= self._good_until:
                self._token, lifetime = await self._exchange(now)
                self._good_until = now + lifetime - _EARLY
            return self._token

    async def _exchange(self, now: int) -> tuple[str, int]:
        account = await asyncio.to_thread(self._account)
        claims = {
            "iss": account["client_email"],
            "scope": _SCOPE,
            "aud": account["token_uri"],
            "iat": now,
            "exp": now + _LIFETIME,
        }
        try:
            assertion = jwt.encode(
                claims, account["private_key"], algorithm="RS256", headers={"kid": account.get("private_key_id", "")}
            )
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise self._unfit("its private_key cannot be read") from error
        form = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        target = target_of(account["token_uri"], headers, proxy=self._proxy)
        answer = await self._transport.send(target, form.encode(), _QUICK)
        try:
            given = msgspec.json.decode(answer.body)
            return str(given["access_token"]), int(given.get("expires_in") or _LIFETIME)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            raise UpstreamAccountRefused(
                f"Google gave no token for the service account ({answer.status})",
                mend="the operator checks the account's key file and its clock",
                upstream_status=answer.status,
                reached=True,
            ) from None

    def _account(self) -> dict[str, Any]:
        try:
            account = msgspec.json.decode(Path(self._path).read_bytes())
        except (OSError, msgspec.DecodeError):
            raise self._unfit("it cannot be read") from None
        needed = ("client_email", "private_key", "token_uri")
        if not isinstance(account, dict) or not all(isinstance(account.get(name), str) for name in needed):
            raise self._unfit(f"a service account's key has {', '.join(needed)}")
        return account

    @staticmethod
    def _unfit(why: str) -> ConfigurationInvalid:
        return ConfigurationInvalid(
            f"the Google credentials file is unfit: {why}", mend="set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        )
