"""Gemini on Vertex AI, over real HTTP: a service account's assertion for a token, and the token for an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fixtures.money_kit import ManualClock
from fixtures.upstream import Upstream, answer, events, running_upstream
from gateway.errors import ConfigurationInvalid, GatewayError, UpstreamAccountRefused
from gateway.models.llm_models import Chat, Delta, Message, TextPart, Tool
from gateway.providers.directory import Deployed, ProviderDirectory
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.transport import Transport
from gateway.registry.catalogue import ModelSpec, ProviderSpec, Timeouts

CHAT = Chat("any", (Message("system", (TextPart("Be brief."),)), Message("user", (TextPart("Hi"),))), max_tokens=20)
SAID: dict[str, Any] = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
}
MODEL = "/v1/projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-flash"
Result = TypeVar("Result")


class Account:
    """A service account, and Google's side of it."""

    def __init__(self, upstream: Upstream, folder: Path) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.file = folder / "account.json"
        self.token_uri = f"{upstream.url}/token"
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.row = {
            "type": "service_account",
            "client_email": "gateway@p.iam.gserviceaccount.com",
            "private_key_id": "k1",
            "private_key": pem,
            "token_uri": self.token_uri,
        }
        self.file.write_text(json.dumps(self.row))
        self.asked: list[dict[str, Any]] = []
        self.refuses = False

    async def token(self, request: web.Request, raw: bytes) -> web.StreamResponse | None:
        if request.path != "/token":
            return None
        form = parse_qs(raw.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        (assertion,) = form["assertion"]
        assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        options: Any = {"verify_exp": False, "verify_iat": False}
        self.asked.append(
            jwt.decode(assertion, self.key.public_key(), algorithms=["RS256"], audience=self.token_uri, options=options)
        )
        if self.refuses:
            return web.json_response({"error": "invalid_grant", "error_description": "no such account"}, status=400)
        return web.json_response({"access_token": f"token-{len(self.asked)}", "expires_in": 3600})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def account(upstream: Upstream, tmp_path: Path) -> Iterator[Account]:
    made = Account(upstream, tmp_path)
    upstream.beside = made.token
    yield made
    upstream.beside = None


def with_model(
    upstream: Upstream, file: Path, clock: ManualClock, work: Callable[[Deployed], Awaitable[Result]]
) -> Result:
    async def run() -> Result:
        transport = Transport()
        try:
            quick = Timeouts(connect=2, first_byte=5, idle=5, total=10)
            base = upstream.url + MODEL.partition("/models/")[0]
            spec = ProviderSpec("v", "vertex", base, timeouts=quick, options={"credentials_file": str(file)})
            directory = ProviderDirectory(transport, LocalServerNote(Path("/nonexistent")), clock)
            return await work(directory.language_model(spec, ModelSpec("mine", "llm", "v", "gemini-2.5-flash")))
        finally:
            await transport.close()

    return asyncio.run(run())


async def read(pieces: AsyncIterator[Delta]) -> str:
    return "".join([piece.text async for piece in pieces])


def test_a_token_is_asked_once_and_opens_every_call(upstream: Upstream, account: Account) -> None:
    async def work(model: Deployed) -> tuple[str, str, int | None]:
        whole = await model.complete(CHAT)
        streamed = await read(model.stream(CHAT))
        return whole.text(), streamed, await model.count_tokens(CHAT)

    upstream.play(answer(SAID), events(SAID, done=False), answer({"totalTokens": 4}))
    clock = ManualClock()
    assert with_model(upstream, account.file, clock, work) == ("Hello.", "Hello.", 4)
    whole, streamed, counted = upstream.sent
    assert [sent.path for sent in upstream.sent] == [
        f"{MODEL}:generateContent",
        f"{MODEL}:streamGenerateContent",
        f"{MODEL}:countTokens",
    ]
    assert streamed.query == {"alt": "sse"}
    assert {sent.headers["authorization"] for sent in upstream.sent} == {"Bearer token-1"}
    assert all("x-goog-api-key" not in sent.headers for sent in upstream.sent)
    assert whole.body == streamed.body
    assert set(counted.body) == {"contents", "systemInstruction"}, "as Vertex reads it, not in a generateContentRequest"
    (claims,) = account.asked
    assert claims["iss"] == account.row["client_email"]
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600


def test_a_token_is_renewed_before_it_runs_out(upstream: Upstream, account: Account) -> None:
    clock = ManualClock()

    async def work(model: Deployed) -> None:
        await model.complete(CHAT)
        clock.pass_seconds(3200)
        await model.complete(CHAT)
        clock.pass_seconds(200)
        await asyncio.gather(*(model.complete(CHAT) for _ in range(5)))

    upstream.play(answer(SAID))
    with_model(upstream, account.file, clock, work)
    told = [sent.headers["authorization"] for sent in upstream.sent]
    assert told == ["Bearer token-1"] * 2 + ["Bearer token-2"] * 5, "five at once ask for one token"


def test_tools_are_told_as_gemini_has_them(upstream: Upstream, account: Account) -> None:
    tooled = Chat("any", CHAT.messages, tools=(Tool("price", "A price", {"type": "object", "properties": {}}),))
    upstream.play(answer(SAID))
    with_model(upstream, account.file, ManualClock(), lambda model: model.complete(tooled))
    (sent,) = upstream.sent
    assert sent.body["tools"][0]["functionDeclarations"][0]["name"] == "price"


def test_an_account_that_google_does_not_know(upstream: Upstream, account: Account) -> None:
    account.refuses = True
    upstream.play(answer(SAID))
    with pytest.raises(UpstreamAccountRefused, match="400"):
        with_model(upstream, account.file, ManualClock(), lambda model: model.complete(CHAT))
    assert upstream.sent == [], "without a token nothing is asked"


@pytest.mark.parametrize("change", [{"private_key": "no key"}, {"token_uri": None}, None])
def test_a_key_file_that_is_none(upstream: Upstream, account: Account, change: dict[str, Any] | None) -> None:
    account.file.write_text("no JSON" if change is None else json.dumps({**account.row, **change}))
    with pytest.raises(GatewayError) as caught:
        with_model(upstream, account.file, ManualClock(), lambda model: model.complete(CHAT))
    assert isinstance(caught.value, ConfigurationInvalid)
    assert "BEGIN" not in caught.value.message
