"""AWS signatures, against the published SigV4 test suite (as botocore keeps it, 0e6e2404) and botocore 1.44.5."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.providers.sigv4 import Credentials, sign

AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "https://example.amazonaws.com"
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = "application/x-www-form-urlencoded"
#: The suite's example of a session's token.
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthA"
    "x7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY"
    "9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)


def signed(
    method: str, url: str, headers: dict[str, str], body: bytes = b"", token: str = "", service: str = "service"
) -> dict[str, str]:
    credentials = Credentials("AKIDEXAMPLE", SECRET, token)
    return sign(method, url, headers, body, credentials=credentials, region="us-east-1", service=service, at=AT)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "names", "signature"),
    [
        pytest.param(
            "GET",
            "/",
            {},
            b"",
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla",
        ),
        pytest.param(
            "GET",
            "/?Param2=value2&Param1=value1",
            {},
            b"",
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            id="get-vanilla-query-order-key-case",
        ),
        pytest.param(
            "GET",
            f"/{UNRESERVED}",
            {},
            b"",
            "host;x-amz-date",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            id="get-unreserved",
        ),
        pytest.param(
            "GET",
            "/",
            {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            b"",
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            id="get-header-value-trim",
        ),
        pytest.param(
            "POST",
            "/",
            {},
            b"",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-vanilla",
        ),
        pytest.param(
            "POST",
            "/?Param1=value1",
            {},
            b"",
            "host;x-amz-date",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            id="post-vanilla-query",
        ),
        pytest.param(
            "POST",
            "/",
            {"My-Header1": "value1"},
            b"",
            "host;my-header1;x-amz-date",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            id="post-header-key-sort",
        ),
        pytest.param(
            "POST",
            "/",
            {"My-Header1": "VALUE1"},
            b"",
            "host;my-header1;x-amz-date",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            id="post-header-value-case",
        ),
        pytest.param(
            "POST",
            "/",
            {"Content-Type": FORM},
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            id="post-x-www-form-urlencoded",
        ),
        pytest.param(
            "POST",
            "/",
            {"Content-Type": f"{FORM}; charset=utf8"},
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
            id="post-x-www-form-urlencoded-parameters",
        ),
    ],
)
def test_the_published_suite(
    method: str, path: str, headers: dict[str, str], body: bytes, names: str, signature: str
) -> None:
    assert signed(method, HOST + path, headers, body) == {
        "x-amz-date": "20150830T123600Z",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            f"SignedHeaders={names}, Signature={signature}"
        ),
    }


def test_the_token_of_a_session_is_sent_and_signed() -> None:
    """The suite's post-sts-header-before."""
    assert signed("POST", f"{HOST}/", {}, token=TOKEN) == {
        "x-amz-date": "20150830T123600Z",
        "x-amz-security-token": TOKEN,
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-security-token, "
            "Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
        ),
    }


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        (
            "anthropic.claude-3-haiku-20240307-v1%3A0",
            "1e3e5ff96e9eaa6f374cc3e88308f4dd8c58e317eb37fe847a49419ac9af2387",
        ),
        (
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.a.b-v1%3A0",
            "383b2c9bf6b63807c3ba56437a6de8c3306613221d2b3ed4846ee44b4cffbc46",
        ),
        (
            "amazon.nova-lite",
            "6614928809a0075536166eeba0b80a7515a661b960f6c17bef5556ac6d47a0e8",
        ),
    ],
)
def test_a_model_in_the_path_is_encoded_once_more(model: str, signature: str) -> None:
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{model}/converse"
    added = signed("POST", url, {"Content-Type": "application/json"}, b"{}", service="bedrock")
    assert added["authorization"].endswith(f"Signature={signature}")


def test_an_empty_path_is_the_root_and_a_port_is_the_hosts() -> None:
    assert signed("POST", HOST, {}) == signed("POST", f"{HOST}/", {})
    assert signed("POST", f"{HOST}:4566/", {}) != signed("POST", f"{HOST}/", {})


def test_header_names_are_signed_in_lower_case_and_whatever_their_order() -> None:
    one = signed("POST", HOST, {"B-Header": "b", "A-Header": "a"})
    assert one == signed("POST", HOST, {"a-header": "a", "b-header": "b"})
    assert "SignedHeaders=a-header;b-header;host;x-amz-date," in one["authorization"]
