"""The admin's key of a start: whoever starts the gateway can come in, in whatever order they tried it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.house import CONFIG
from gateway.bootstrap import make_identity
from gateway.clock import SystemClock
from gateway.errors import NotAuthenticated
from gateway.security.access import Caller
from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.upkeep import prepare


def settings(folder: Path, *, dev: bool, **variables: str) -> Settings:
    return Settings.read({"HOME": str(folder), **variables}, dev=dev, data_dir=folder, config_dir=CONFIG)


def caller(told: Settings, secret: str) -> Caller:
    identity = make_identity(told, Database(told.database_url), SystemClock())
    return identity.authenticate({"authorization": f"Bearer {secret}"})


def test_development_first_leaves_the_first_admin_to_production(tmp_path: Path) -> None:
    dev, production = (settings(tmp_path, dev=dev) for dev in (True, False))
    tried = [prepare(dev)["admin_key"] for _ in range(2)]
    assert caller(dev, tried[1]).role == "admin"
    with pytest.raises(NotAuthenticated):
        caller(dev, tried[0])
    first = prepare(production)["admin_key"]
    assert caller(production, first).role == "admin"
    with pytest.raises(NotAuthenticated):
        caller(production, tried[1])
    assert prepare(production)["admin_key"] is None, "it is shown once"
    again = prepare(dev)["admin_key"]
    assert {caller(dev, secret).role for secret in (first, again)} == {"admin"}


@pytest.mark.parametrize("dev", [True, False])
def test_the_operators_own_key_is_taken_after_development(tmp_path: Path, dev: bool) -> None:
    prepare(settings(tmp_path, dev=True))
    own = settings(tmp_path, dev=dev, GATEWAY_ADMIN_KEY="k" * 40)
    assert prepare(own)["admin_key"] == ("k" * 40 if dev else None)
    assert caller(own, "k" * 40).role == "admin"
