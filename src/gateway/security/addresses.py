"""Which IP addresses a caller may make us call: public unicast ones, and no disguise of another.

``ipaddress.is_global`` alone passes NAT64, 6to4 and multicast addresses, and its tables differ
between Python releases; the networks are therefore listed here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_LOOPBACK: tuple[tuple[IPv4Network | IPv6Network, str], ...] = (
    (IPv4Network("127.0.0.0/8"), "loopback"),
    (IPv6Network("::1/128"), "loopback"),
)
_REFUSED_4 = (
    (IPv4Network("0.0.0.0/8"), "unspecified"),
    (IPv4Network("10.0.0.0/8"), "private"),
    (IPv4Network("100.64.0.0/10"), "carrier-grade NAT"),
    (IPv4Network("169.254.0.0/16"), "link-local"),
    (IPv4Network("172.16.0.0/12"), "private"),
    (IPv4Network("192.0.0.0/24"), "protocol assignment"),
    (IPv4Network("192.0.2.0/24"), "documentation"),
    (IPv4Network("192.31.196.0/24"), "anycast service"),
    (IPv4Network("192.52.193.0/24"), "anycast service"),
    (IPv4Network("192.88.99.0/24"), "6to4 relay"),
    (IPv4Network("192.168.0.0/16"), "private"),
    (IPv4Network("192.175.48.0/24"), "anycast service"),
    (IPv4Network("198.18.0.0/15"), "benchmarking"),
    (IPv4Network("198.51.100.0/24"), "documentation"),
    (IPv4Network("203.0.113.0/24"), "documentation"),
    (IPv4Network("168.63.129.16/32"), "cloud metadata"),
    (IPv4Network("224.0.0.0/4"), "multicast"),
    (IPv4Network("240.0.0.0/4"), "reserved"),
)
#: Only 2000::/3 is public unicast; of it, these are not.
_UNICAST_6 = IPv6Network("2000::/3")
_NAMED_6 = (
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped"),
    (IPv6Network("::ffff:0:0:0/96"), "IPv4-translated"),
    (IPv6Network("64:ff9b::/96"), "NAT64"),
    (IPv6Network("64:ff9b:1::/48"), "NAT64"),
    (IPv6Network("fc00::/7"), "private"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("fec0::/10"), "site-local"),
    (IPv6Network("ff00::/8"), "multicast"),
    (IPv6Network("2001::/32"), "Teredo"),
    (IPv6Network("2001::/23"), "protocol assignment"),
    (IPv6Network("2001:db8::/32"), "documentation"),
    (IPv6Network("2002::/16"), "6to4"),
    (IPv6Network("3fff::/20"), "documentation"),
    (IPv6Network("2620:4f:8000::/48"), "anycast service"),
)
#: The middle of an ISATAP address, which carries an IPv4 address in its last 32 bits.
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_loopback(address: Address) -> bool:
    """Whether the address is this machine itself."""
    return any(address in network for network, _ in _LOOPBACK if network.version == address.version)


def why_refused(address: Address) -> str | None:
    """The kind of address that makes it refused, or ``None`` for public unicast."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "scoped"
        if is_loopback(address):
            return "loopback"
        if int(address) == 0:
            return "unspecified"
        for network, kind in _NAMED_6:
            if address in network:
                return kind
        if address not in _UNICAST_6:
            return "reserved"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "ISATAP"
        return None
    if is_loopback(address):
        return "loopback"
    return next((kind for network, kind in _REFUSED_4 if address in network), None)
