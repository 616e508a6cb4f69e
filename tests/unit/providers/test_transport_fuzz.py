"""Whatever a server writes, the HTTP client gives an answer or an error of ours, in time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fixtures.transport_kit import QUICK, streamed
from gateway.errors import UpstreamError
from gateway.providers.transport import Transport

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 ",
    b"content-length: 5\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"transfer-encoding: chunked\r\n",
    b"content-encoding: gzip\r\n",
    b"connection: close\r\n",
    b"\r\n",
    b"5\r\nHello\r\n",
    b"0\r\n\r\n",
    b"-1\r\n",
    b"Hello",
    b"\x00\xff",
    b"HTTP/1.1 100 C\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
]


@settings(max_examples=150, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=40)), max_size=12),
    st.lists(st.integers(0, 400), max_size=6),
    st.booleans(),
)
def test_no_answer_is_so_odd_that_it_is_not_an_answer_or_an_error_of_ours(
    pieces: list[bytes], cuts: list[int], whole_answer: bool
) -> None:
    data = b"".join(pieces)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    steps = [data[start:end] for start, end in pairwise(places)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        for step in steps:
            writer.write(step)
            await writer.drain()
        writer.close()

    async def ask() -> None:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        transport = Transport()
        try:
            async with asyncio.timeout(10):
                await (transport.post(url, b"{}", {}, QUICK) if whole_answer else streamed(transport, url))
        except UpstreamError:
            assert True  # one of ours
        finally:
            await transport.close()
            listening.close()

    asyncio.run(ask())
