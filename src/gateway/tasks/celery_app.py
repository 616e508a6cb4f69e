"""Celery as the doorbell: a message says which step is ready, nothing else; SQL holds the truth.

Messages are acknowledged at once and results are not kept: one that the broker does not take is rung
again as soon as it answers (``doorbells``), one that it loses by the sweep, a repeated one is stale by its token.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from celery import Celery
from celery.exceptions import SecurityWarning
from kombu.exceptions import OperationalError

from gateway.engine.rows import Doorbell
from gateway.engine.task_types import QUEUES
from gateway.tasks import llm_tasks, ml_tasks, workflow_tasks
from gateway.tasks.doorbells import BrokerAway, Ringer
from gateway.tasks.runner import StepRunner

_TASK_OF_QUEUE = {"llm": llm_tasks.NAME, "ml": ml_tasks.NAME, "cpu": workflow_tasks.NAME}


def make_celery(broker_url: str, result_backend: str = "", runner: StepRunner | None = None) -> Celery:
    """The app. With a ``runner`` it can work; without one it can only ring."""
    app = Celery("gateway", broker=broker_url, backend=result_backend or None, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue="cpu",
        task_queue_max_priority=10,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "max_retries": 0,  # who rings for a broker that is away hears so at once; ``doorbells`` tries again
            "queue_order_strategy": "priority",
            "priority_steps": list(range(10)),
        },
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        enable_utc=True,
        timezone="UTC",
    )
    if runner is not None:
        for module in (llm_tasks, ml_tasks, workflow_tasks):
            module.register(app, runner)
    return app


class CeleryExecutor:
    """Rings by Celery, as soon as the broker takes it."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        # RabbitMQ takes high numbers first, the Redis transport low ones.
        self._urgent_is_high = str(app.conf.broker_url).startswith("amqp")
        self._ringer = Ringer(self._send)

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        self._ringer.ring(doorbells)

    def _send(self, bell: Doorbell) -> None:
        try:
            self._app.send_task(
                _TASK_OF_QUEUE[bell.queue],
                args=(bell.task_id, bell.token),
                queue=bell.queue,
                priority=bell.priority if self._urgent_is_high else 10 - bell.priority,
                retry=False,
            )
        except (OperationalError, OSError) as error:
            raise BrokerAway(type(error).__name__) from error


def work(app: Celery, *, concurrency: int, queues: Sequence[str] = QUEUES, name: str = "") -> None:
    """Runs a worker with threads until it is told to stop."""
    arguments = [
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={concurrency}",
        "-Q",
        ",".join(queues),
        "--loglevel=WARNING",
    ]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    if name:
        arguments += ["-n", name]
    # Started as root in a container it would warn of pickle, which we do not accept.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.worker_main(arguments)
