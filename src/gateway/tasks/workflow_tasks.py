"""The Celery door of the queue ``cpu``: steps that compute."""

from __future__ import annotations

from celery import Celery

from gateway.tasks.runner import StepRunner

QUEUE = "cpu"
NAME = "gateway.workflow.run_step"


def register(app: Celery, runner: StepRunner) -> None:
    """Makes this door known to a worker."""

    @app.task(name=NAME, queue=QUEUE, ignore_result=True)  # type: ignore[untyped-decorator]
    def run_step(task_id: str, token: int) -> None:
        """Runs the step, if the token is still good."""
        runner.run(task_id, token, QUEUE)
