"""Where we may be made to call: nowhere that is not public."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.errors import EgressDenied
from gateway.security.egress import EgressPolicy, Resolver, check_url

PUBLIC = "93.184.216.34"


def resolves_to(*addresses: str) -> Resolver:
    def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def check(url: str, *addresses: str, policy: EgressPolicy | None = None) -> tuple[str, ...]:
    resolve = resolves_to(*(addresses or (PUBLIC,)))
    return check_url(url, resolve, policy or EgressPolicy()).addresses


def test_a_public_https_url_is_pinned_to_its_address() -> None:
    checked = check_url("https://Hooks.Example.ORG./in?x=1", resolves_to(PUBLIC))
    assert (checked.host, checked.port, checked.addresses) == ("hooks.example.org", 443, (PUBLIC,))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "168.63.129.16",
        "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:4136:e378::", "2001:db8::1", "fe80::1%eth0",
    ],
)  # fmt: skip
def test_no_address_that_is_not_public(address: str) -> None:
    with pytest.raises(EgressDenied):
        check("https://example.org/", address)


def test_one_bad_address_among_good_ones_is_enough() -> None:
    with pytest.raises(EgressDenied):
        check("https://example.org/", PUBLIC, "10.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "https://", "//example.org", "example.org",
        "https://user:pw@example.org/", "https://example.org:22/", "https://example.org:6379/", "https://example.org:0/",
        "https://127.1/", "https://2130706433/", "https://0x7f.1/", "https://017700000001/", "https://1.2.3.4.5/",
        "https://[::1]/", "https://[fe80::1%25eth0]/", "https://[::]/", "https://exa mple.org/", "https://example.org\\@evil/",
        "https://ex%61mple.org/", "https://example.org:99999/", "https://example.org:x/", "https://-a.org/",
        "https://" + "a" * 300 + ".org/", "https://example.org/" + "a" * 3000, "https://example.org/\r\nHost: x",
        "https://127.0.0.1/", "https://localhost./",
    ],
)  # fmt: skip
def test_no_url_that_could_mean_something_else(url: str) -> None:
    with pytest.raises(EgressDenied) as caught:
        check(url, "127.0.0.1" if "localhost" in url else PUBLIC)
    assert "pw" not in caught.value.message


def test_a_host_without_address() -> None:
    def nothing(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    with pytest.raises(EgressDenied, match="no address"):
        check_url("https://example.invalid/", nothing)


def test_development_may_call_itself_and_nothing_else() -> None:
    here = EgressPolicy(allow_loopback=True)
    assert check("http://127.0.0.1:9999/hook", "127.0.0.1", policy=here) == ("127.0.0.1",)
    with pytest.raises(EgressDenied):
        check("http://10.0.0.1/", "10.0.0.1", policy=here)
    with pytest.raises(EgressDenied):
        check("http://example.org/", policy=here)


def test_the_operator_vouches_for_a_host() -> None:
    policy = EgressPolicy(allowed_hosts=("alerts.internal:8080",))
    assert check("http://alerts.internal:8080/x", "10.0.0.9", policy=policy) == ("10.0.0.9",)
    with pytest.raises(EgressDenied):
        check("http://alerts.internal:8081/x", "10.0.0.9", policy=policy)
