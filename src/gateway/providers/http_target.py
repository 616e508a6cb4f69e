"""Where a request goes and how it begins, made once and used for every call: origin and encoded head."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from gateway.errors import ConfigurationInvalid

_PORTS = {"http": 80, "https": 443}
#: Set by the client itself.
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "expect"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Origin(Struct, frozen=True):
    """What one pool of connections leads to; ``proxy`` is the URL of an HTTP proxy, or empty."""

    scheme: str
    host: str
    port: int
    proxy: str = ""


class Proxy(Struct, frozen=True):
    """An HTTP proxy and the header value that opens it (empty: none)."""

    host: str
    port: int
    authorization: str


class Target(Struct, frozen=True):
    """An origin, the ``key`` of its pool, and the request's head but for the body's length."""

    key: str
    origin: Origin
    head: bytes


def target_of(url: str, headers: Mapping[str, str], *, method: str = "POST", proxy: str = "") -> Target:
    """The target of ``url`` as it is written: a signed path may not be spelt otherwise.

    Raises ``ConfigurationInvalid`` for what cannot stand in a request; the values stay unsaid.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise _unfit("URL") from None
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url or "@" in parts.netloc:
        raise _unfit("URL")
    origin = Origin(parts.scheme, parts.hostname, port, proxy)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = []
    if proxy and parts.scheme == "http":
        path = f"http://{parts.netloc}{path}"
        authorization = proxy_of(proxy).authorization
        lines += [f"proxy-authorization: {authorization}"] if authorization else []
    named = {name.lower(): value for name, value in headers.items()}
    lines += [f"{name}: {_checked(name, value)}" for name, value in named.items()]
    if "host" not in named:
        lines.insert(0, f"host: {parts.netloc}")
    if "accept-encoding" not in named:
        lines.append("accept-encoding: identity")
    head = "\r\n".join((f"{method} {path} HTTP/1.1", *lines, ""))
    key = f"{origin.scheme}://{origin.host}:{origin.port}|{proxy}"
    return Target(key, origin, head.encode("latin-1"))


def proxy_of(url: str) -> Proxy:
    """Reads a proxy's URL, with its user and password where it has them. ``ConfigurationInvalid`` for others."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS["http"]
    except ValueError:
        raise _unfit("proxy") from None
    if parts.scheme != "http" or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise _unfit("proxy")
    if parts.username is None:
        return Proxy(parts.hostname, port, "")
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(parts.hostname, port, "Basic " + base64.b64encode(credentials.encode()).decode())


def _checked(name: str, value: str) -> str:
    """The value, if it may stand in a head."""
    if not _NAME.fullmatch(name) or name in _OURS or not _VALUE.fullmatch(value):
        raise _unfit(f"header {name[:100]!r}")
    return value


def _unfit(what: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        f"the provider's {what} holds what HTTP forbids there",
        mend="look for blanks, line ends or other characters in it and in the variables it is made of",
    )
