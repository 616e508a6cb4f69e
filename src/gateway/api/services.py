"""What the doors stand on: the services of one API process, put together by ``bootstrap``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.api.once import OnceKeys
from gateway.api.responses_door import ResponsesService
from gateway.clock import Clock
from gateway.ledger.budgets import BudgetService
from gateway.ledger.calls import CallLedger
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.usage import UsageService
from gateway.models.artifacts import ArtifactStore
from gateway.registry.loader import CatalogueHolder
from gateway.registry.model_registry import ModelRegistry
from gateway.registry.prompts import PromptService
from gateway.routing.health import Health
from gateway.security.audit import AuditLog
from gateway.security.identity import Identity
from gateway.security.limit_desk import LimitDesk
from gateway.serving.chat import ChatService
from gateway.serving.embed import EmbedService
from gateway.serving.feedback import FeedbackService
from gateway.serving.learner import Learner
from gateway.serving.moderate import ModerateService
from gateway.serving.predict import PredictService
from gateway.serving.price_desk import PriceDesk
from gateway.serving.rerating import Rerating
from gateway.serving.run_estimate import RunEstimates
from gateway.serving.saving_report import SavingService
from gateway.settings import Settings
from gateway.store.event_store import SqlEventStore
from gateway.store.file_store import SqlFileStore
from gateway.store.response_store import SqlResponseStore
from gateway.store.webhook_store import SqlWebhookStore
from gateway.tasks.batch_desk import BatchDesk
from gateway.tasks.desk import Desk
from gateway.tasks.retention import Retention
from gateway.tasks.run_control import RunControl
from gateway.tasks.run_history import RunHistory
from gateway.tasks.schedules import Schedules
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Services:
    """One of each; shared by every request of the process."""

    settings: Settings
    clock: Clock
    identity: Identity
    audit: AuditLog
    ledger: Ledger
    usage: UsageService
    savings: SavingService
    estimates: RunEstimates
    calls: CallLedger
    budgets: BudgetService
    limits: LimitDesk
    catalogue: CatalogueHolder
    chat: ChatService
    embed: EmbedService
    predict: PredictService
    prices: PriceDesk
    rerating: Rerating
    desk: Desk
    control: RunControl
    history: RunHistory
    retention: Retention
    schedules: Schedules
    registry: ModelRegistry
    prompts: PromptService
    learner: Learner
    feedback: FeedbackService
    artifacts: ArtifactStore
    events: SqlEventStore
    webhooks: SqlWebhookStore
    once: OnceKeys
    respond: ResponsesService
    responses: SqlResponseStore
    files: SqlFileStore
    batches: BatchDesk
    moderate: ModerateService
    metrics: Metrics
    health: Health
    ping_database: Callable[[], None]
    check_webhook: Callable[[str], object]
    webhook_secret: str
    close: Callable[[], Awaitable[None]]
