"""The API process: the doors over the services, served by uvicorn on a socket it is given.

Kept apart from ``bootstrap`` so that a worker does not load the web framework, nor this process Celery
where no broker is used.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from importlib import import_module

import uvicorn

from gateway.api.app import make_app
from gateway.api.once import OnceKeys
from gateway.api.server import server_config
from gateway.api.services import Services
from gateway.bootstrap import (
    Core,
    await_schema,
    make_identity,
    make_serving,
)
from gateway.dashboard.pages import pages
from gateway.engine.ports import Executor
from gateway.ledger.budgets import BudgetService
from gateway.ledger.usage import UsageService
from gateway.security.limit_desk import LimitDesk
from gateway.serving.feedback import FeedbackService
from gateway.serving.price_desk import PriceDesk
from gateway.serving.rerating import Rerating
from gateway.serving.run_estimate import RunEstimates
from gateway.serving.saving_report import SavingService
from gateway.serving.tokens import TokenService
from gateway.store.budget_store import SqlBudgetStore
from gateway.store.learning_store import SqlLearningStore
from gateway.store.rate_limit_store import SqlRateLimitStore
from gateway.store.rating_store import SqlRatingStore
from gateway.store.rerate_store import SqlRerateStore
from gateway.store.run_costs import SqlRunCosts
from gateway.store.run_reader import SqlRunReader
from gateway.store.schedule_store import SqlRunRecords, SqlScheduleStore
from gateway.store.step_call_store import SqlStepCallStore
from gateway.store.usage_store import SqlUsageStore
from gateway.tasks.batch_desk import BatchDesk
from gateway.tasks.desk import Desk
from gateway.tasks.inline import InlineExecutor
from gateway.tasks.run_control import RunControl
from gateway.tasks.run_history import RunHistory
from gateway.tasks.runner import StepRunner
from gateway.tasks.schedules import Schedules
from gateway.telemetry import logs
from gateway.work_process import make_orchestrator, make_retention, make_runner, webhook_secret
from gateway.workflows.task_types import installed_workflows


def run(core: Core, descriptor: int) -> None:
    """Serves until told to stop."""
    stop = threading.Event()
    await_schema(core.database)
    executor, runner = _executor(core, stop)
    services = make_services(core, executor)
    services.desk.adopt((*installed_workflows(), *core.catalogue.current.workflows))
    config = server_config(make_app(services, pages()))
    logs.start_line("api")
    # What is made by now lives as long as the process: the collector need not look at it again and again,
    # nor at what a request makes and drops before it has answered.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    server = uvicorn.Server(config)
    door = socket.socket(fileno=descriptor)
    try:
        server.run(sockets=[door])
    finally:
        stop.set()
        if runner is not None:
            runner.close()


def make_services(core: Core, executor: Executor) -> Services:
    """The services behind the doors."""
    serving = make_serving(core)
    reader = SqlRunReader(core.database)
    desk = Desk(
        core.engine,
        reader,
        core.events,
        executor,
        lambda: core.catalogue.current,
        core.task_types,
        core.clock,
        core.egress.check,
    )
    control = RunControl(desk.maker, reader, core.audit)

    identity = make_identity(core.settings, core.database, core.clock)
    usage = UsageService(SqlUsageStore(core.database), core.clock, core.calls.flush, core.ledger.record_usage)

    async def close() -> None:
        await serving.transport.close()
        await asyncio.to_thread(core.limits.close)
        await asyncio.to_thread(core.calls.close)
        await asyncio.to_thread(core.prompts.results.flush)
        await asyncio.to_thread(core.metrics.fold)
        await asyncio.to_thread(core.database.close)

    return Services(
        settings=core.settings,
        clock=core.clock,
        identity=identity,
        audit=core.audit,
        ledger=core.ledger,
        usage=usage,
        estimates=RunEstimates(
            SqlRunCosts(core.database),
            lambda: core.catalogue.current,
            core.task_types,
            TokenService(core.tokenizers),
            core.clock,
        ),
        savings=SavingService(usage, SqlRatingStore(core.database), lambda: core.catalogue.current, core.clock),
        calls=core.calls,
        budgets=BudgetService(SqlBudgetStore(core.database), core.clock, core.calls),
        limits=LimitDesk(SqlRateLimitStore(core.database), core.clock, identity.forget),
        catalogue=core.catalogue,
        chat=serving.chat,
        embed=serving.embed,
        predict=serving.predict,
        prices=PriceDesk(lambda: core.catalogue.current, core.ledger, core.clock),
        rerating=Rerating(
            lambda: core.catalogue.current, SqlRerateStore(core.database), core.audit, core.clock, core.calls.flush
        ),
        desk=desk,
        control=control,
        history=RunHistory(control, reader, SqlRunRecords(core.database), SqlStepCallStore(core.database)),
        retention=make_retention(core),
        schedules=Schedules(desk.maker, SqlScheduleStore(core.database), reader, core.clock),
        registry=core.registry,
        prompts=core.prompts,
        learner=core.learner,
        feedback=FeedbackService(SqlLearningStore(core.database), core.ledger, core.audit, core.clock),
        artifacts=core.artifacts,
        events=core.events,
        webhooks=core.webhooks,
        once=OnceKeys(core.kept.idempotency),
        respond=serving.respond,
        responses=core.kept.responses,
        files=core.kept.files,
        batches=BatchDesk(core.kept.batches, core.kept.files, desk, core.clock),
        moderate=serving.moderate,
        metrics=core.metrics,
        health=core.health,
        ping_database=core.database.ping,
        check_webhook=core.egress.check,
        webhook_secret=webhook_secret(core.settings),
        close=close,
    )


def _executor(core: Core, stop: threading.Event) -> tuple[Executor, StepRunner | None]:
    """Celery where a broker is set, else this process runs the steps and sweeps itself."""
    settings = core.settings
    if settings.executor == "celery" or (settings.executor == "auto" and settings.broker_url):
        celery = import_module("gateway.tasks.celery_app")
        executor: Executor = celery.CeleryExecutor(celery.make_celery(settings.broker_url, settings.result_backend))
        return executor, None
    runner = make_runner(core)
    inline = InlineExecutor(runner)
    runner.ring_with(inline)
    orchestrator = make_orchestrator(core, inline)
    threading.Thread(target=orchestrator.run, args=(stop,), name="orchestrator", daemon=True).start()
    return inline, runner
