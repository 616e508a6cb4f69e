"""Every environment variable the gateway reads, in one place, each with its origin.

``Settings.read(os.environ)`` is the only reader; everything else is handed values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from gateway.errors import ConfigurationInvalid

Executor = Literal["auto", "celery", "inline"]
#: Which responses are kept: all but those with ``store: false``, only those with ``store: true``, or none.
StoreResponses = Literal["unless_refused", "if_asked", "never"]
#: What ``GATEWAY_ARTIFACTS`` says where large values stay in the database.
DATABASE = "database"
#: Names whose values are never printed.
SECRET_NAMES = frozenset(
    {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GATEWAY_JWT_SECRET", "GATEWAY_ADMIN_KEY", "GATEWAY_WEBHOOK_SECRET"}
)
_EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - a production server is reached from other machines
_PLACEHOLDERS = ("your-", "changeme", "change-me", "replace-me", "placeholder", "example")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process was told. ``origins`` says for each field: environment, default or option."""

    port: int
    host: str
    data_dir: Path
    config_dir: Path
    database_url: str
    artifacts_url: str
    broker_url: str
    result_backend: str
    limits_url: str
    executor: Executor
    openai_api_key: str
    anthropic_api_key: str
    jwt_secret: str
    jwks_url: str
    jwt_audience: str
    jwt_issuer: str
    admin_key: str
    webhook_url: str
    webhook_secret: str
    webhook_hosts: tuple[str, ...]
    prometheus_url: str
    metrics_interval: int
    metrics_port: int
    cost_alert_threshold: Decimal | None
    cost_tracking_enabled: bool
    cost_anomaly_factor: Decimal | None
    cost_anomaly_minimum: Decimal | None
    journal_sync: Literal["window", "strict"]
    log_level: str
    log_format: Literal["json", "text"]
    allowed_origins: tuple[str, ...]
    store_responses: StoreResponses
    batch_poll: int
    keep_runs_days: int
    steps_at_once: int
    dev: bool
    environ: Mapping[str, str]
    origins: Mapping[str, str]

    @classmethod
    def read(cls, environ: Mapping[str, str], *, dev: bool = False, **options: Any) -> Settings:
        """Settings from environment variables; an option given by name (not ``None``) wins.

        Raises ``ConfigurationInvalid`` that names the variable, never its value if it is a secret.
        """
        origins: dict[str, str] = {}

        def text(name: str, variable: str, default: str = "") -> str:
            if options.get(name) is not None:
                origins[name] = "option"
                return str(options[name])
            if environ.get(variable):
                origins[name] = variable
                return environ[variable]
            origins[name] = f"default ({variable})"
            return default

        data_dir = Path(text("data_dir", "GATEWAY_DATA_DIR", ".gateway")).expanduser().absolute()
        settings = cls(
            port=_integer("AI_GATEWAY_PORT", text("port", "AI_GATEWAY_PORT", "8001"), 0, 65535),
            host=text("host", "AI_GATEWAY_HOST", "127.0.0.1" if dev else _EVERY_INTERFACE),
            data_dir=data_dir,
            config_dir=Path(text("config_dir", "GATEWAY_CONFIG_DIR", str(default_config_dir())))
            .expanduser()
            .absolute(),
            database_url=text("database_url", "DATABASE_URL", f"sqlite:///{data_dir / 'gateway.db'}"),
            artifacts_url=text("artifacts_url", "GATEWAY_ARTIFACTS", _artifacts_default(environ, options, data_dir)),
            broker_url=text("broker_url", "CELERY_BROKER_URL"),
            result_backend=text("result_backend", "CELERY_RESULT_BACKEND"),
            limits_url=_limits_url(text("limits_url", "GATEWAY_LIMITS_URL"), text("broker_url", "CELERY_BROKER_URL")),
            executor=_choice(
                "GATEWAY_EXECUTOR", text("executor", "GATEWAY_EXECUTOR", "auto"), ("auto", "celery", "inline")
            ),
            openai_api_key=text("openai_api_key", "OPENAI_API_KEY"),
            anthropic_api_key=text("anthropic_api_key", "ANTHROPIC_API_KEY"),
            jwt_secret=text("jwt_secret", "GATEWAY_JWT_SECRET"),
            jwks_url=text("jwks_url", "GATEWAY_JWKS_URL"),
            jwt_audience=text("jwt_audience", "GATEWAY_JWT_AUDIENCE", "gnanam-ai-gateway"),
            jwt_issuer=text("jwt_issuer", "GATEWAY_JWT_ISSUER", "gnanam"),
            admin_key=text("admin_key", "GATEWAY_ADMIN_KEY"),
            webhook_url=text("webhook_url", "WEBHOOK_URL"),
            webhook_secret=text("webhook_secret", "GATEWAY_WEBHOOK_SECRET"),
            webhook_hosts=tuple(
                filter(None, text("webhook_hosts", "GATEWAY_WEBHOOK_HOSTS").lower().replace(",", " ").split())
            ),
            prometheus_url=text("prometheus_url", "PROMETHEUS_URL"),
            metrics_interval=_integer("METRICS_INTERVAL", text("metrics_interval", "METRICS_INTERVAL", "30"), 1, 86400),
            metrics_port=_integer("GATEWAY_METRICS_PORT", text("metrics_port", "GATEWAY_METRICS_PORT", "0"), 0, 65535),
            cost_alert_threshold=_usd("COST_ALERT_THRESHOLD", text("cost_alert_threshold", "COST_ALERT_THRESHOLD")),
            cost_tracking_enabled=_boolean(
                "COST_TRACKING_ENABLED", text("cost_tracking_enabled", "COST_TRACKING_ENABLED", "true")
            ),
            cost_anomaly_factor=_usd("COST_ANOMALY_FACTOR", text("cost_anomaly_factor", "COST_ANOMALY_FACTOR", "3")),
            cost_anomaly_minimum=_usd(
                "COST_ANOMALY_MINIMUM", text("cost_anomaly_minimum", "COST_ANOMALY_MINIMUM", "1")
            ),
            journal_sync=_choice(
                "GATEWAY_JOURNAL_SYNC", text("journal_sync", "GATEWAY_JOURNAL_SYNC", "window"), ("window", "strict")
            ),
            log_level=_choice(
                "GATEWAY_LOG_LEVEL",
                text("log_level", "GATEWAY_LOG_LEVEL", "info").lower(),
                ("debug", "info", "warning", "error"),
            ),
            log_format=_choice(
                "GATEWAY_LOG_FORMAT",
                text("log_format", "GATEWAY_LOG_FORMAT", "text" if dev else "json"),
                ("json", "text"),
            ),
            allowed_origins=tuple(
                filter(None, text("allowed_origins", "GATEWAY_ALLOWED_ORIGINS").replace(",", " ").split())
            ),
            store_responses=_choice(
                "GATEWAY_STORE_RESPONSES",
                text("store_responses", "GATEWAY_STORE_RESPONSES", "unless_refused"),
                ("unless_refused", "if_asked", "never"),
            ),
            batch_poll=_integer("GATEWAY_BATCH_POLL", text("batch_poll", "GATEWAY_BATCH_POLL", "30"), 1, 3600),
            keep_runs_days=_integer(
                "GATEWAY_KEEP_RUNS_DAYS", text("keep_runs_days", "GATEWAY_KEEP_RUNS_DAYS", "0"), 0, 36_500
            ),
            steps_at_once=_integer(
                "GATEWAY_STEPS_AT_ONCE", text("steps_at_once", "GATEWAY_STEPS_AT_ONCE", "32"), 1, 1000
            ),
            dev=dev,
            environ=dict(environ),
            origins=origins,
        )
        settings._check()
        return settings

    def describe(self) -> list[tuple[str, str, str]]:
        """(name, value as it may be shown, origin) of each setting, secrets masked: for ``doctor``. The origin of
        a default names the variable that changes it."""
        rows = []
        for item in fields(self):
            if item.name in ("environ", "origins"):
                continue
            value, origin = getattr(self, item.name), self.origins.get(item.name, "option")
            if item.name.endswith(("_key", "_secret")):
                shown = "set" if value else "not set"
            elif item.name.endswith("_url") or item.name == "result_backend":
                shown = mask_url(value)
            else:
                shown = str(value) if value not in (None, "", ()) else "not set"
            rows.append((item.name, shown, origin))
        return rows

    def _check(self) -> None:
        for variable, value in (
            ("WEBHOOK_URL", self.webhook_url),
            ("PROMETHEUS_URL", self.prometheus_url),
            ("GATEWAY_JWKS_URL", self.jwks_url),
        ):
            parts = urlsplit(value)
            if value and not (parts.scheme in ("http", "https") and parts.hostname):
                raise ConfigurationInvalid(
                    f"{variable} is not an http(s) address", mend="write it as https://host/path, or unset it"
                )
        if self.dev:
            return
        for variable, value in (
            ("OPENAI_API_KEY", self.openai_api_key),
            ("ANTHROPIC_API_KEY", self.anthropic_api_key),
            ("GATEWAY_JWT_SECRET", self.jwt_secret),
            ("GATEWAY_ADMIN_KEY", self.admin_key),
            ("GATEWAY_WEBHOOK_SECRET", self.webhook_secret),
        ):
            if any(mark in value.lower() for mark in _PLACEHOLDERS):
                raise ConfigurationInvalid(
                    f"{variable} still holds a placeholder", mend="set the real secret, or unset the variable"
                )
        if self.jwt_secret and len(self.jwt_secret.encode()) < 32:
            raise ConfigurationInvalid(
                "GATEWAY_JWT_SECRET is shorter than 32 bytes", mend="use 32 or more random bytes (openssl rand -hex 32)"
            )
        if self.admin_key and len(self.admin_key) < 32:
            raise ConfigurationInvalid(
                "GATEWAY_ADMIN_KEY is shorter than 32 characters", mend="use 32 or more random characters"
            )


def default_config_dir() -> Path:
    """The checkout's ``config/`` when run from one, else the copy shipped in the wheel."""
    checkout = Path(__file__).resolve().parents[2] / "config"
    return checkout if checkout.is_dir() else Path(__file__).resolve().parent / "_config"


def mask_url(url: str) -> str:
    """The URL with its user's password hidden."""
    if not url:
        return "not set"
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.hostname or ""
    netloc = f"{parts.username or ''}:***@{host}" + (f":{parts.port}" if parts.port else "")
    return urlunsplit(parts._replace(netloc=netloc))


def settings_from_process(*, dev: bool = False, **options: Any) -> Settings:
    """Settings of this process's own environment."""
    return Settings.read(os.environ, dev=dev, **options)


def _integer(variable: str, value: str, low: int, high: int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise ConfigurationInvalid(
            f"{variable} is not a whole number from {low} to {high}", mend=f"set {variable} anew"
        )
    return number


def _usd(variable: str, value: str) -> Decimal | None:
    if not value:
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and amount >= 0):
        raise ConfigurationInvalid(f"{variable} is not an amount in USD", mend="use a number such as 100 or 99.50")
    return amount


def _boolean(variable: str, value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in ("true", "1", "yes", "on"):
        return True
    if lowered in ("false", "0", "no", "off"):
        return False
    raise ConfigurationInvalid(f"{variable} is neither true nor false", mend="use true or false")


def _artifacts_default(environ: Mapping[str, str], options: Mapping[str, Any], data_dir: Path) -> str:
    """A folder beside SQLite's file; on PostgreSQL the database, which other machines reach as they do no folder."""
    database_url = str(options.get("database_url") or environ.get("DATABASE_URL") or "sqlite:")
    return str(data_dir / "artifacts") if database_url.startswith("sqlite") else DATABASE


def _limits_url(value: str, broker_url: str) -> str:
    """Where rate limits are shared; nothing where each process counts for itself."""
    schemes = ("redis", "rediss", "unix")
    if not value:
        return broker_url if urlsplit(broker_url).scheme in schemes else ""
    if value != "none" and urlsplit(value).scheme not in schemes:
        raise ConfigurationInvalid(
            "GATEWAY_LIMITS_URL is no address of a Redis or Valkey",
            mend="write it as redis://host:6379/0, set it to none, or unset it",
        )
    return "" if value == "none" else value


def _choice(variable: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise ConfigurationInvalid(f"{variable} is not one of: {', '.join(allowed)}", mend=f"set {variable} anew")
    return value
