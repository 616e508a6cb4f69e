"""AWS signatures, against values that AWS's own Python library (botocore 1.x) gives for the same requests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.providers.sigv4 import Credentials, sign

AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "body", "token", "service", "region", "signature"),
    [
        (
            f"{BEDROCK}/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            b'{"messages":[]}',
            "",
            "bedrock",
            "eu-west-1",
            "ae7a9414a4f7db51164c15b535c4c8cb5c8862768cd623e727f2c6af6a06a133",
        ),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/a/converse-stream",
            b"{}",
            "a-session-token",
            "bedrock",
            "us-east-1",
            "16964d4851aad478ad9728eedb80ed0deb8fe79fb6bdbc6e5c028554652e5d56",
        ),
        (
            "https://example.amazonaws.com/?Param2=value2&Param1=value1&Empty=",
            b"",
            "",
            "service",
            "us-east-1",
            "4d9c3e2523d1b67b87745c70bc645b4f277f89d70c25b800896516b4f63feb3c",
        ),
    ],
)
def test_signed_as_aws_signs(url: str, body: bytes, token: str, service: str, region: str, signature: str) -> None:
    credentials = Credentials("AKIDEXAMPLE", SECRET, token)
    headers = {"Content-Type": "application/json"}
    added = sign("POST", url, headers, body, credentials=credentials, region=region, service=service, at=AT)
    names = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
    assert added.pop("authorization") == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/{region}/{service}/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert added == {"x-amz-date": "20150830T123600Z"} | ({"x-amz-security-token": token} if token else {})
