"""Where a caller may make us call: webhooks, callbacks, anything whose address is not ours.

``check_url`` reads the URL strictly, resolves the host and refuses unless *every* address is public;
the client (``providers/egress_client.py``) then connects to one of the returned addresses and to
nothing else, so that a second resolution cannot lead elsewhere. Each redirect is checked again.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.errors import EgressDenied
from gateway.security.addresses import Address, is_loopback, why_refused

_PORTS = {"https": 443, "http": 80}
#: Ports below 1024 are refused except these; above it, those of services that mistake HTTP for orders.
_LOW_PORTS = frozenset({80, 443})
_SERVICE_PORTS = frozenset(
    {1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 5432, 5672, 5900, 6000, 6379, 6443, 9042, 9092, 9200, 9300}
    | {10250, 11211, 27017}
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_END = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_LONGEST_URL = 2048


class Resolver(Protocol):
    """Turns a host name into addresses."""

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """All addresses of the host, as text; ``OSError`` where it has none."""
        ...


class EgressPolicy(Struct, frozen=True):
    """What the operator allows beyond public https.

    ``allow_http`` lets plain http out; ``allow_loopback`` lets this machine itself be called (by
    http too): for development. ``allowed_hosts`` are names (``host`` or ``host:port``) that the
    operator vouches for: their addresses and ports are not judged, only pinned.
    """

    allow_loopback: bool = False
    allow_http: bool = False
    allowed_hosts: tuple[str, ...] = ()


class CheckedUrl(Struct, frozen=True):
    """A URL that may be called, and the only addresses it may be called at."""

    url: str
    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The machine's own resolver. It blocks: call it from a thread."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def check_url(
    url: str,
    resolver: Resolver = system_resolver,
    policy: EgressPolicy = EgressPolicy(),  # noqa: B008 - a frozen value
) -> CheckedUrl:
    """The URL's host, port and permitted addresses, or ``EgressDenied`` saying which rule refuses it."""
    scheme, host, literal, port = _read(url)
    trusted = host in policy.allowed_hosts or f"{host}:{port}" in policy.allowed_hosts
    if literal is None:
        try:
            texts = list(resolver(host, port))
        except (OSError, UnicodeError):
            texts = []
        addresses = tuple(_parse(text) for text in texts)
        if not addresses:
            raise _denied("the host of the URL has no address", "check the host's name")
    else:
        addresses = (literal,)
    loopback = all(is_loopback(address) for address in addresses)
    here = policy.allow_loopback and loopback
    if not trusted and not here:
        for address in addresses:
            kind = why_refused(address)
            if kind is not None:
                raise _denied(
                    f"the URL leads to an address that is not public ({kind})",
                    "use a host on the public internet, or have the operator allow this one",
                )
        if (port < 1024 and port not in _LOW_PORTS) or port in _SERVICE_PORTS:
            raise _denied(f"port {port} is not open to outgoing calls", "use 443, or a port above 1023")
    if scheme == "http" and not (policy.allow_http or trusted or here):
        raise _denied("the URL is not https", "use an https URL")
    return CheckedUrl(url, scheme, host, port, tuple(str(address) for address in addresses))


def _read(url: str) -> tuple[str, str, Address | None, int]:
    """Scheme, host (lower-case ASCII), the host's address if it is one, and port."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL:
        raise _denied("the URL is too long", f"use at most {_LONGEST_URL} characters")
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise _denied("the URL holds a space, a backslash or a control character", "encode it (%20)")
    try:
        parts = urlsplit(url)
        port = parts.port
        raw = parts.hostname or ""
    except ValueError:
        raise _denied("the URL cannot be read", "write it as https://host/path") from None
    if parts.scheme not in _PORTS:
        raise _denied("the URL is not https", "use an https URL")
    if "@" in parts.netloc:
        raise _denied("the URL holds credentials", "leave user and password out of it")
    if "%" in parts.netloc:
        raise _denied("the URL's host is encoded", "write the host's plain name")
    host, literal = _host(raw, bracketed=parts.netloc.startswith("["))
    if port == 0:
        raise _denied("port 0 cannot be called", "use 443, or a port above 1023")
    return parts.scheme, host, literal, _PORTS[parts.scheme] if port is None else port


def _host(raw: str, *, bracketed: bool) -> tuple[str, Address | None]:
    if bracketed:
        try:
            return raw, IPv6Address(raw)
        except ValueError:
            raise _denied("the URL's IPv6 address cannot be read", "write it as [2001:…]") from None
    host = raw
    if not host.isascii():
        try:
            host = raw.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise _denied("the URL's host name is not a valid one", "write it in its ASCII form (xn--…)") from None
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _denied("the URL's host name is not a valid one", "write the host's plain name")
    if _NUMERIC_END.fullmatch(labels[-1]):
        # Whoever resolves "127.1", "0x7f.1" or "2130706433" may read an address in it that we did not.
        try:
            return host, IPv4Address(host)
        except ValueError:
            raise _denied("the URL's address is not four plain decimal numbers", "write it as a.b.c.d") from None
    return host, None


def _parse(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise _denied("the host of the URL has an address that cannot be read", "check the host's name") from None


def _denied(message: str, mend: str) -> EgressDenied:
    return EgressDenied(message, mend=mend, param="url")
