"""``/v1/files`` with OpenAI's own SDK, and with forms that are none."""

from __future__ import annotations

import io
from collections.abc import Iterator

import openai
import pytest

from fixtures.house import ROOT_KEY, House
from fixtures.money_kit import ManualClock
from gateway.clock import SECOND
from gateway.store.file_store import LARGEST, PART, SqlFileStore


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=ROOT_KEY, max_retries=0) as made:
        yield made


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    return (
        b"".join(
            b"--b\r\nContent-Disposition: form-data; " + name.encode() + b"\r\n\r\n" + content + b"\r\n"
            for name, content in parts
        )
        + end
    )


FILE = ('name="file"; filename="a.jsonl"', b"{}\n")
PURPOSE = ('name="purpose"', b"batch")


def test_a_file_there_and_back(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * (3 * PART // 256) + b"end"
    made = client.files.create(file=("dir/in.jsonl", io.BytesIO(content)), purpose="batch")
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(content), "in.jsonl", "batch", "processed")
    assert made.expires_at == made.created_at + 30 * 86_400
    assert client.files.content(made.id).read() == content
    assert client.files.retrieve(made.id) == made
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(made.id)


def test_files_are_listed_in_pages_by_purpose(house: House) -> None:
    key = house.key("developer", principal="lister")
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key) as client:
        made = [client.files.create(file=(f"{at}.jsonl", b"x"), purpose="batch").id for at in range(3)]
        assert [item.id for item in client.files.list(limit=2)] == made[::-1]
        assert [item.id for item in client.files.list(order="asc", purpose="batch")] == made
        assert list(client.files.list(purpose="batch_output")) == []


def test_another_tenant_finds_nothing(house: House, client: openai.OpenAI) -> None:
    made = client.files.create(file=("a.jsonl", b"x"), purpose="batch")
    stranger = house.key("developer", principal="stranger")
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert house.ask(method, f"/v1/files/{made.id}{path}", key=stranger).status == 404
    assert client.files.content(made.id).read() == b"x"


def test_a_file_may_say_how_long_it_is_kept(house: House, client: openai.OpenAI) -> None:
    made = client.files.create(
        file=("a.jsonl", b"x"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3_600}
    )
    assert made.expires_at == made.created_at + 3_600
    later = SqlFileStore(house.core.database, ManualClock(house.core.clock.now() + 3_601 * SECOND))
    assert later.part(made.id, 0) == b"x"
    assert later.sweep() >= 1
    assert later.part(made.id, 0) is None


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(FILE), 400, "purpose"),
        (form(FILE, ('name="purpose"', b"fine-tune")), 400, "purpose"),
        (form(PURPOSE), 400, "file"),
        (form(PURPOSE, FILE, FILE), 400, "file"),
        (form(PURPOSE, ('name="file"; filename="a"', b"")), 400, "file"),
        (form(PURPOSE, FILE, ('name="zzz"', b"1")), 400, "zzz"),
        (form(PURPOSE, FILE, ('name="expires_after[seconds]"', b"7")), 400, "expires_after"),
        (form(('name="purpose"', b"x" * 20_000), FILE), 400, "purpose"),
        (form(PURPOSE, FILE, end=b""), 400, None),
        (b"no form at all", 400, None),
        (b"", 400, None),
    ],
)
def test_a_form_that_is_wrong_is_refused_by_name(house: House, body: bytes, status: int, param: str | None) -> None:
    found = house.ask("POST", "/v1/files", body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert (found.status, found.body["error"]["param"]) == (status, param), found.body


def test_what_is_too_large_or_no_form_is_refused_before_it_is_read(house: House) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": str(2 * LARGEST)}
    assert house.ask("POST", "/v1/files", b"x", headers=headers).status == 413
    assert house.ask("POST", "/v1/files", {}).status == 415
