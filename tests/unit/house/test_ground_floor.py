"""The ground floor: settings, money, identifiers, time."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import rfc3339
from gateway.errors import ConfigurationInvalid
from gateway.ids import new_id
from gateway.money import plain, units, usd
from gateway.settings import Settings, mask_url

LONG = "k" * 40


def test_every_setting_has_an_origin_and_no_secret_is_shown() -> None:
    environ = {
        "AI_GATEWAY_PORT": "9000",
        "OPENAI_API_KEY": "sk-secret-of-ours",
        "DATABASE_URL": "postgresql://gateway:hunter2@db/x",
        "COST_ALERT_THRESHOLD": "99.50",
        "COST_TRACKING_ENABLED": "off",
    }
    settings = Settings.read(environ, host="10.0.0.1")
    shown = {name: (value, origin) for name, value, origin in settings.describe()}
    assert shown["port"] == ("9000", "AI_GATEWAY_PORT")
    assert shown["host"] == ("10.0.0.1", "option")
    assert shown["log_format"] == ("json", "default (GATEWAY_LOG_FORMAT)")
    assert shown["openai_api_key"][0] == "set"
    assert "hunter2" not in str(shown)
    assert settings.cost_alert_threshold == Decimal("99.50")
    assert not settings.cost_tracking_enabled


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AI_GATEWAY_PORT", "eighty"),
        ("AI_GATEWAY_PORT", "70000"),
        ("METRICS_INTERVAL", "-77"),
        ("COST_ALERT_THRESHOLD", "-1"),
        ("COST_ALERT_THRESHOLD", "NaN"),
        ("COST_ALERT_THRESHOLD", "much"),
        ("COST_TRACKING_ENABLED", "maybe"),
        ("GATEWAY_EXECUTOR", "threads"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("WEBHOOK_URL", "alerts"),
        ("WEBHOOK_URL", "file:///etc/passwd"),
        ("PROMETHEUS_URL", "javascript:alert(1)"),
        ("GATEWAY_JWKS_URL", "//nowhere"),
        ("OPENAI_API_KEY", "your-openai-key"),
        ("GATEWAY_JWT_SECRET", "changeme" * 8),
        ("GATEWAY_JWT_SECRET", "s3cr3t"),
        ("GATEWAY_ADMIN_KEY", "s3cr3t"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        Settings.read({variable: value})
    assert variable in caught.value.message
    assert value not in f"{caught.value.message} {caught.value.mend}"


def test_development_takes_placeholders_and_stays_on_this_machine() -> None:
    settings = Settings.read({"OPENAI_API_KEY": "your-openai-key", "GATEWAY_ADMIN_KEY": LONG}, dev=True)
    assert settings.host == "127.0.0.1"
    assert Settings.read({}).host != "127.0.0.1"


def test_a_password_in_an_address_is_hidden() -> None:
    assert mask_url("redis://:pw@host:6379/0") == "redis://:***@host:6379/0"
    assert mask_url("redis://host") == "redis://host"
    assert mask_url("") == "not set"


@given(st.decimals(0, 10**6, places=10))
def test_money_comes_back_to_the_last_digit(amount: Decimal) -> None:
    assert usd(units(amount)) == amount


def test_money_as_text_has_no_exponent() -> None:
    assert plain(usd(1)) == "0.0000000001"
    assert plain(usd(7_500)) == "0.00000075"
    assert plain(usd(30_000_000_000)) == "3"


def test_money_of_text_is_exact() -> None:
    assert units("0.1") + units("0.2") == units("0.3")


def test_identifiers_sort_by_time_and_never_repeat() -> None:
    made = [new_id("task") for _ in range(2000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(len(one) == len("task_") + 26 for one in made)


def test_times_are_utc() -> None:
    assert rfc3339(1_772_625_600_000_000) == "2026-03-04T12:00:00.000000Z"
    assert rfc3339(-57_000_000_000_000_000) == "0163-09-28T18:40:00.000000Z"


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({}, ""),
        ({"CELERY_BROKER_URL": "redis://broker:6379/0"}, "redis://broker:6379/0"),
        ({"CELERY_BROKER_URL": "amqp://broker"}, ""),
        ({"CELERY_BROKER_URL": "redis://broker:6379/0", "GATEWAY_LIMITS_URL": "none"}, ""),
        ({"CELERY_BROKER_URL": "amqp://broker", "GATEWAY_LIMITS_URL": "rediss://other/1"}, "rediss://other/1"),
    ],
)
def test_limits_are_shared_where_a_store_for_them_is(given: dict[str, str], shared: str) -> None:
    assert Settings.read(given).limits_url == shared


def test_a_store_of_limits_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationInvalid, match="GATEWAY_LIMITS_URL"):
        Settings.read({"GATEWAY_LIMITS_URL": "amqp://broker"})
