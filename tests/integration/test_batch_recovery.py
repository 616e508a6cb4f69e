"""A worker is killed in the middle of a batch: every line has its answer once, and is paid once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import openai

from fixtures.gateway_process import GatewayProcess, start_gateway
from fixtures.house import House, write_config
from fixtures.upstream import Play, answer, openai_answer, running_upstream

LINES = 24


def requests() -> bytes:
    lines = [
        {
            "custom_id": f"line-{at}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "t-small", "messages": [{"role": "user", "content": str(at)}], "max_tokens": 9},
        }
        for at in range(LINES)
    ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def told(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [] if file_id is None else [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_a_worker_is_killed_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    with running_upstream() as upstream:
        good = answer(openai_answer())
        # Ten lines at once, then such as are on their way when the worker dies.
        upstream.play(
            *[good] * 10, *[Play(200, good.chunks, good.headers)] * 2, *[Play(200, (), good.headers, 60)] * 8, good
        )
        config = write_config(tmp_path / "config", upstream.url)
        environ = {"GATEWAY_CONFIG_DIR": str(config), "OPENAI_API_KEY": "sk-test-0123456789"}
        gateway = start_gateway(tmp_path / "data", environ=environ)
        try:
            _batch(gateway, upstream.sent)
        finally:
            gateway.stop()


def _batch(gateway: GatewayProcess, sent: list[Any]) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        given = client.files.create(file=("in.jsonl", requests()), purpose="batch")
        batch = client.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
        House.until(lambda: len(sent), lambda count: count >= 20)
        os.kill(gateway.children()["worker"], signal.SIGKILL)
        done = House.until(
            lambda: client.batches.retrieve(batch.id), lambda found: found.completed_at is not None, seconds=90
        )
        output, errors = told(client, done.output_file_id), told(client, done.error_file_id)
    assert sorted(item["custom_id"] for item in output + errors) == sorted(f"line-{at}" for at in range(LINES))
    assert {item["response"]["status_code"] for item in errors} <= {409}, "only an answer that died with its worker"
    assert len(output) >= LINES - 8
    _, _, page = gateway.request("GET", "/usage/entries?limit=200")
    causes = [entry["cause"] for entry in page["entries"]]
    assert sorted(causes) == sorted(f"{batch.id}:{at}" for at in range(1, LINES + 1)), "each line is paid once"
