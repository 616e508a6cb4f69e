"""A server that goes wrong as told, and the event loops that the HTTP client must work on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from fixtures.fault_server import FaultServer, running_fault_server
from fixtures.transport_kit import Loops


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultServer]:
    with running_fault_server() as running:
        yield running


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Loops:
    made: Loops = request.param
    return made
