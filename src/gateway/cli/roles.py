"""``worker`` and ``orchestrate``: single processes, for many machines."""

from __future__ import annotations

from gateway.cli import process
from gateway.cli.options import ConfigDir, DataDir, Dev
from gateway.settings import settings_from_process


def worker(dev: Dev = False, data_dir: DataDir = None, config: ConfigDir = None) -> None:
    """Run steps: a Celery worker on the broker of CELERY_BROKER_URL."""
    process.worker(settings_from_process(dev=dev, data_dir=data_dir, config_dir=config))


def orchestrate(dev: Dev = False, data_dir: DataDir = None, config: ConfigDir = None) -> None:
    """Sweep: missed doorbells, expired leases, timers, webhooks. Several may run at once."""
    process.orchestrate(settings_from_process(dev=dev, data_dir=data_dir, config_dir=config))
