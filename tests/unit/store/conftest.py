"""What tests of stores share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gateway.cli.embedded_broker import broker_program, start_broker


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server from its wheel, where one fits."""
    if broker_program() is None:
        pytest.skip("no Valkey wheel fits this platform")
    folder = tmp_path_factory.mktemp("valkey")
    broker = start_broker(folder, dict(os.environ), folder / "log")
    assert broker is not None
    assert broker.wait()
    yield broker.url
    broker.child.stop()
