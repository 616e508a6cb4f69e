"""A key's limit over several API processes, as ``ai-gateway serve --workers`` starts them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fixtures.gateway_process import start_gateway
from fixtures.ledger_house import together
from gateway.cli.embedded_broker import broker_program

LIMIT = 20


@pytest.mark.skipif(broker_program() is None, reason="no Valkey wheel fits this platform")
def test_of_many_requests_to_several_processes_exactly_the_limit_passes(tmp_path: Path) -> None:
    gateway = start_gateway(tmp_path / "data", "--api-only", "--workers", "3")
    try:
        asked = {"name": "shared", "role": "developer", "requests_per_minute": LIMIT}
        key = gateway.request("POST", "/keys", asked)[2]["key"]
        text = {"model": "gpt-4o", "text": "What is a bond?"}

        def several(_number: int) -> list[int]:
            return [gateway.request("POST", "/tokens/count", text, key=key)[0] for _ in range(8)]

        found = together(several, 8)
    finally:
        assert gateway.stop() == 0
    told = Counter(status for statuses in found if isinstance(statuses, list) for status in statuses)
    assert told == {200: LIMIT, 429: 64 - LIMIT}
