"""Heads made as bytes: the same headers as a door that makes them one by one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.api.wire.answer_head import AnswerHeads, Head, lines_of
from gateway.api.wire.headers import answer_headers
from gateway.security.limits import LimitState
from gateway.serving.answer import AnswerMeta

PLAIN = AnswerMeta("req_1", "gpt", "openai", "gpt-up", 12_345, config_epoch="e1", route="gpt: asked for")
LIMITS = LimitState(10, 9, 60.0, 1000, 900, 59.5)
METAS = [
    PLAIN,
    replace(PLAIN, cache="hit", attempts=0, cost=0),
    replace(PLAIN, limits=LimitState()),
    replace(PLAIN, limits=LIMITS),
    replace(PLAIN, limits=replace(LIMITS, limit_tokens=None)),
    replace(PLAIN, limits=replace(LIMITS, limit_requests=None, remaining_tokens=0, reset_tokens=None)),
    replace(PLAIN, dropped_params=("seed", "n"), limits=LIMITS),
    replace(PLAIN, guards="pii=redacted(3)", tokens_saved=0),
]


@pytest.mark.parametrize("meta", METAS)
@pytest.mark.parametrize("final", [True, False])
def test_a_head_says_what_the_headers_say(meta: AnswerMeta, final: bool) -> None:
    heads = AnswerHeads()
    for cost in (meta.cost, 7 * 10**10):  # the second is made from what is remembered of the first
        now = replace(meta, cost=cost)
        head = heads.of("req_1", now, "x-own: é\r\n", 2, final=final)
        expected = {"x-request-id": "req_1", **answer_headers(now, final=final)}
        expected |= {"x-own": "é", "content-length": "2"}
        assert dict(head) == {name.encode(): value.encode("latin-1") for name, value in expected.items()}


def test_no_value_ends_a_line() -> None:
    assert lines_of({"a": "b\r\nset-cookie: x"}) == "a: b??set-cookie: x\r\n"
    assert list(Head("a: b: c\r\nd: \r\n")) == [(b"a", b"b: c"), (b"d", b"")]
