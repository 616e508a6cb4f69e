"""What the processes without a door run: workers, orchestrators, and the embedded language model's server."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from importlib import import_module
from urllib.parse import urlsplit

from gateway.api.lines import BatchLines
from gateway.bootstrap import Core, await_schema, make_core, make_serving, watch_configuration
from gateway.clock import Clock
from gateway.engine.ports import Executor
from gateway.events.outbox import Receipt, Subscription
from gateway.ids import new_id
from gateway.money import units
from gateway.providers.directory import ProviderDirectory
from gateway.providers.egress_client import EgressClient
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.local_llm import serve as serve_local_llm
from gateway.providers.transport import Transport
from gateway.security.egress import EgressPolicy
from gateway.security.secret_files import secret_for
from gateway.serving.batch_courier import BatchCourier
from gateway.serving.batch_settling import BatchSettling
from gateway.settings import Settings
from gateway.store.artifact_collection import ArtifactCollector
from gateway.store.live_work import live_work
from gateway.store.run_budgets import RunBudgetEnds
from gateway.store.run_reader import SqlRunReader
from gateway.store.run_retention import SqlRunRetention
from gateway.store.schedule_store import SqlScheduleStore
from gateway.store.spend_watch import SpendWatch
from gateway.store.step_call_store import SqlStepCallStore
from gateway.tasks.orchestrator import Orchestrator
from gateway.tasks.retention import Retention
from gateway.tasks.run_making import RunMaker
from gateway.tasks.runner import StepRunner
from gateway.tasks.schedules import Schedules
from gateway.tasks.step_context import ContextFactory
from gateway.tasks.webhooks import Send, WebhookDeliverer
from gateway.telemetry import logs
from gateway.workflows.batch_tools import BatchTools


def run_worker(settings: Settings) -> None:
    """Runs steps that Celery names."""
    celery = import_module("gateway.tasks.celery_app")
    core = make_core(settings)
    await_schema(core.database)
    runner = make_runner(core)
    app = celery.make_celery(_broker(settings), settings.result_backend, runner)
    runner.ring_with(celery.CeleryExecutor(app))
    watch_configuration(core)
    _open_metrics(core)
    logs.start_line("worker")
    try:
        celery.work(app, concurrency=settings.steps_at_once)
    finally:
        runner.close()
        core.limits.close()
        core.calls.close()  # the last calls may set off alerts
        core.metrics.fold()


def run_orchestrator(settings: Settings, stop: threading.Event) -> None:
    """Sweeps until ``stop``."""
    celery = import_module("gateway.tasks.celery_app")
    core = make_core(settings)
    await_schema(core.database)
    app = celery.make_celery(_broker(settings), settings.result_backend)
    _open_metrics(core)
    logs.start_line("orchestrator")
    try:
        make_orchestrator(core, celery.CeleryExecutor(app)).run(stop)
    finally:
        core.metrics.fold()


def _open_metrics(core: Core) -> None:
    """A page for Prometheus, where this process runs alone; under ``serve`` the API shows what all have counted."""
    settings = core.settings
    if settings.metrics_port and not settings.environ.get("GATEWAY_SUPERVISED"):
        core.metrics.open_door(settings.host, settings.metrics_port)


def run_local_llm(settings: Settings, stop: threading.Event) -> None:
    """Holds the embedded language model's server until ``stop``."""
    logs.set_up(settings.log_level, settings.log_format)
    serve_local_llm(settings.data_dir, stop)


def make_runner(core: Core) -> StepRunner:
    """Runs steps in this process, on a loop of its own."""
    serving = make_serving(core)
    contexts = ContextFactory(
        core.artifacts,
        serving.chat,
        serving.predict,
        core.registry,
        core.prompts,
        lambda: core.catalogue.current,
        BatchTools(
            core.kept.batches,
            core.kept.files,
            BatchLines(serving.chat, serving.embed, serving.respond),
            serving.offers,
            core.kept.provider_batches,
            core.ledger,
            core.settings.batch_poll,
        ),
        SqlStepCallStore(core.database),
        core.clock,
    )
    name = f"{socket.gethostname()}:{os.getpid()}:{new_id('worker')[-6:]}"
    runner = StepRunner(
        core.engine,
        contexts,
        core.task_types,
        core.clock,
        core.calls,
        worker=name,
        at_once=core.settings.steps_at_once,
        at_end=serving.transport.close,
    )
    threading.Thread(target=_carry_batches, args=(core, runner.closing), name="batches", daemon=True).start()
    return runner


def _carry_batches(core: Core, closing: threading.Event) -> None:
    """Hands requests to providers' batch APIs and fetches their answers, on a loop of its own."""

    over = threading.Event()

    async def carry() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def told() -> None:
            closing.wait()
            with suppress(RuntimeError):  # the loop is over already
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=told, name="batches-end", daemon=True).start()
        transport = Transport()
        directory = ProviderDirectory(transport, LocalServerNote(core.settings.data_dir), core.clock)
        asks, settling = core.kept.provider_batches, BatchSettling(core.batch_money, core.clock, core.observer)
        every = core.settings.batch_poll
        courier = BatchCourier(asks, lambda: core.catalogue.current, directory, settling, core.clock, every=every)
        try:
            await courier.run(stop)
            over.set()
        finally:
            await transport.close()

    try:
        asyncio.run(carry())
    except RuntimeError:
        if not over.is_set():  # else there was no thread left to close the loop with: the process has ended
            raise


def make_orchestrator(core: Core, executor: Executor) -> Orchestrator:
    """The sweep of this process."""
    deliverer = make_deliverer(core, core.clock)
    return Orchestrator(
        core.engine,
        executor,
        (
            core.recover_calls,
            core.kept.sweep,
            make_schedules(core, executor).sweep,
            RunBudgetEnds(core.database).sweep,
            *_watch(core),
            *_prune(core),
        ),
        deliverer,
        core.clock,
        live=partial(live_work, core.database),
    )


def make_schedules(core: Core, executor: Executor) -> Schedules:
    """Begins runs at their times."""
    reader, check = SqlRunReader(core.database), core.egress.check
    newest, catalogue = reader.definition, lambda: core.catalogue.current
    maker = RunMaker(core.engine, newest, executor, catalogue, core.task_types, core.clock, check)
    return Schedules(maker, SqlScheduleStore(core.database), reader, core.clock)


def _watch(core: Core) -> list[Callable[[], object]]:
    """Looks for unusual spending, unless that is switched off."""
    factor, minimum = core.settings.cost_anomaly_factor, core.settings.cost_anomaly_minimum or Decimal(0)
    if not factor or not core.settings.cost_tracking_enabled:
        return []
    told = core.observer.anomaly
    return [SpendWatch(core.database, core.clock, told, factor=factor, minimum=units(minimum)).sweep]


def make_retention(core: Core) -> Retention:
    """Removes runs that ended long ago."""
    artifacts = ArtifactCollector(core.database, core.clock)
    return Retention(
        SqlRunRetention(core.database), artifacts, core.audit, core.clock, keep_days=core.settings.keep_runs_days
    )


def _prune(core: Core) -> list[Callable[[], object]]:
    """Does so by itself where it is set for how long they are kept."""
    return [make_retention(core).sweep] if core.settings.keep_runs_days else []


def make_deliverer(core: Core, clock: Clock) -> WebhookDeliverer:
    """Delivers the webhooks of the outbox."""
    settings = core.settings
    secret, own = webhook_secret(settings), settings.webhook_url
    return WebhookDeliverer(
        core.webhooks, make_sender(core), clock, secret=secret, own_url=own, disabled=partial(_record_disabled, core)
    )


def _record_disabled(core: Core, subscription: Subscription) -> None:
    core.audit.record(
        actor="gateway",
        action="webhook.disable",
        resource=f"webhook:{subscription.subscription_id}",
        outcome="disabled",
        request_id="",
        detail={"owner": subscription.owner, "reason": subscription.disabled_reason},
    )


def webhook_secret(settings: Settings) -> str:
    """What signs webhooks where no subscription has a secret of its own."""
    return settings.webhook_secret or secret_for(settings.data_dir, "webhook").decode()


def make_sender(core: Core) -> Send:
    """Sends webhooks. The address of ``WEBHOOK_URL`` is the operator's own word and is not judged; any
    other came from a caller and is."""
    own = core.settings.webhook_url
    if not own:
        return core.egress.post
    parts = urlsplit(own)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    trusted = EgressClient(EgressPolicy(allowed_hosts=(f"{(parts.hostname or '').lower()}:{port}",)))

    async def send(url: str, body: bytes, headers: Mapping[str, str]) -> Receipt:
        return await (trusted if url == own else core.egress).post(url, body, headers)

    return send


def _broker(settings: Settings) -> str:
    return settings.broker_url or "redis://127.0.0.1:6379/0"
