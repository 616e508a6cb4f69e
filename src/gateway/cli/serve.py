"""``serve``: everything one machine needs, or the API alone."""

from __future__ import annotations

import signal
import sys
import types
from typing import Annotated

import typer
from rich.console import Console

from gateway.cli.options import ConfigDir, DataDir, Dev
from gateway.cli.supervisor import RunningService, ServiceOptions, Supervisor
from gateway.settings import Settings, settings_from_process

_WHICH = {True: "admin key for this start", False: "admin key"}
_KNOWN = (
    "[dim]admin key: as the first start showed it. Lost? Start with --dev, then "
    "`ai-gateway keys create NAME --role admin`[/]"
)
ALL_ROLES = ("api", "worker", "orchestrator")


def serve(
    dev: Dev = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (AI_GATEWAY_PORT, 8001).")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="API processes.")] = 1,
    config: ConfigDir = None,
    data_dir: DataDir = None,
    api_only: Annotated[bool, typer.Option("--api-only", help="Only the API; workers run elsewhere.")] = False,
    reload: Annotated[bool | None, typer.Option("--reload/--no-reload", help="Restart when the code changes.")] = None,
) -> None:
    """Start the gateway. On one machine, without CELERY_BROKER_URL, this is all there is to start;
    with a broker of your own, workers and orchestrators run as processes of their own."""
    settings = settings_from_process(dev=dev, host=host, port=port, config_dir=config, data_dir=data_dir)
    alone = dev or not settings.broker_url
    options = ServiceOptions(
        roles=("api",) if api_only or not alone else ALL_ROLES,
        workers=workers,
        local_llm=alone,
        reload=dev if reload is None else reload,
    )
    console = Console(highlight=False, soft_wrap=True)
    supervisor = Supervisor(settings, options, say=lambda text: console.print(f"[dim]· {text}[/]"))

    def stop(_number: int, _frame: types.FrameType | None) -> None:
        supervisor.request_stop()

    signal.signal(signal.SIGTERM, stop)
    if not sys.stdin.isatty():  # where there is a terminal, closing it is meant to end the service
        # Asks a service to read its files again: ours are read whenever they change.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    running = supervisor.start()
    signal.signal(signal.SIGINT, stop)
    _greet(console, settings, running)
    supervisor.wait()
    console.print("[dim]· stopping[/]")
    supervisor.stop()


def _greet(console: Console, settings: Settings, running: RunningService) -> None:
    console.print(f"[bold]AI gateway[/] on {running.url}   dashboard: [link]{running.url}/dashboard[/]")
    if running.admin_key:
        console.print(f"{_WHICH[settings.dev]}, shown once: [bold]{running.admin_key}[/]")
    elif settings.admin_key:
        console.print("[dim]admin key: GATEWAY_ADMIN_KEY, where it was set at the first start[/]")
    else:
        console.print(_KNOWN)
    for note in running.notes:
        console.print(f"[dim]{note}[/]")
    console.print(f"[dim]data: {settings.data_dir}   configuration: {settings.config_dir}   Ctrl-C stops[/]")
