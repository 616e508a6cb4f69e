"""Puts the house together: the only page that names every implementation.

``Core`` is what every process has (database, ledger, catalogue, …), ``Serving`` what one event loop
has (connections to providers). The ``run_*`` functions are the processes.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gateway
from gateway.api.responses_door import ResponsesService
from gateway.clock import Clock, SystemClock
from gateway.engine.definition import parse_definition
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import ConfigurationInvalid
from gateway.ledger.batch_price import check_price
from gateway.ledger.calls import CallLedger
from gateway.ledger.cost_tracker import Ledger
from gateway.models.ml_models import ModelVersion, Predictor
from gateway.money import units
from gateway.providers.directory import ProviderDirectory
from gateway.providers.egress_client import EgressClient
from gateway.providers.jwks_client import fetch_jwks
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.tokenizers import BpeTokenizers
from gateway.providers.transport import Transport
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue
from gateway.registry.loader import CatalogueHolder
from gateway.registry.model_registry import ModelRegistry
from gateway.registry.prompt_results import PromptResults
from gateway.registry.prompts import PromptService
from gateway.routing.health import Health
from gateway.security.audit import AuditLog
from gateway.security.egress import EgressPolicy
from gateway.security.identity import Identity, JwtSettings
from gateway.security.limits import Limits
from gateway.security.secret_files import secret_for
from gateway.security.shared_limits import SharedLimits
from gateway.serving.accounts import Accounts
from gateway.serving.answer_cache import AnswerCache
from gateway.serving.batch_offers import BatchOffers
from gateway.serving.chat import ChatService
from gateway.serving.embed import EmbedService
from gateway.serving.learner import EXCHANGE_TURNS, Learner
from gateway.serving.moderate import ModerateService
from gateway.serving.predict import PredictService
from gateway.serving.semantic_cache import SemanticCache
from gateway.serving.tokens import TokenService
from gateway.settings import Settings
from gateway.store.artifact_place import checked_place
from gateway.store.artifact_store import SqlArtifactStore
from gateway.store.audit_store import SqlAuditSink
from gateway.store.audit_witness import FileWitness
from gateway.store.calls import CallStore
from gateway.store.engine import Database
from gateway.store.engine_store import SqlEngineStore
from gateway.store.event_store import SqlEventStore
from gateway.store.kept_stores import KeptStores
from gateway.store.key_store import SqlKeyStore
from gateway.store.learning_store import SqlLearningStore
from gateway.store.ledger_store import SqlLedgerStore
from gateway.store.limit_grants import RedisGrants
from gateway.store.limit_places import RedisPlaces
from gateway.store.prompt_result_store import SqlPromptResultStore
from gateway.store.prompt_store import SqlPromptStore
from gateway.store.provider_batch_money import SqlBatchMoney
from gateway.store.registry_store import SqlRegistryStore
from gateway.store.schema import is_current
from gateway.store.webhook_store import SqlWebhookStore
from gateway.tasks.submission import check_models
from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import CallObserver
from gateway.workflows.task_types import known_task_types


@dataclass(frozen=True, slots=True)
class Core:
    """What every process of the gateway stands on."""

    settings: Settings
    clock: Clock
    database: Database
    catalogue: CatalogueHolder
    task_types: dict[str, TaskTypeSpec]
    ledger: Ledger
    calls: CallLedger
    recover_calls: Callable[[], object]
    audit: AuditLog
    artifacts: SqlArtifactStore
    registry: ModelRegistry
    prompts: PromptService
    events: SqlEventStore
    engine: SqlEngineStore
    webhooks: SqlWebhookStore
    kept: KeptStores
    limits: Limits
    health: Health
    learner: Learner
    metrics: Metrics
    accounts: Accounts
    batch_money: SqlBatchMoney
    observer: CallObserver
    egress: EgressClient
    tokenizers: BpeTokenizers


@dataclass(frozen=True, slots=True)
class Serving:
    """Model calls from one event loop."""

    chat: ChatService
    embed: EmbedService
    moderate: ModerateService
    predict: PredictService
    respond: ResponsesService
    offers: BatchOffers
    transport: Transport


class _Runtime:
    """The runtime of predictive models, loaded with its libraries at the first prediction: a process
    that never predicts stays light."""

    def __init__(self, artifacts: SqlArtifactStore) -> None:
        self._artifacts = artifacts
        self._lock = threading.Lock()
        self._runtime: Any = None

    def predictor(self, version: ModelVersion) -> Predictor:
        """See ``serving.predict.PredictorSource``."""
        with self._lock:
            if self._runtime is None:
                self._runtime = import_module("gateway.ml.runtime").ModelRuntime(self._artifacts)
        loaded: Predictor = self._runtime.predictor(version)
        return loaded


def make_core(settings: Settings) -> Core:
    """Opens the database and reads the configuration. ``ConfigurationInvalid`` or ``Unavailable`` otherwise."""
    logs.set_up(settings.log_level, settings.log_format)
    clock = SystemClock()
    database = Database(settings.database_url, artifacts=checked_place(settings.artifacts_url))
    catalogue = CatalogueHolder(settings.config_dir, settings.environ, check_catalogue)
    check_prices(catalogue.current)
    artifacts = SqlArtifactStore(database, clock)
    events = SqlEventStore(database, default_url=settings.webhook_url)
    metrics, health = Metrics(gateway.__version__), Health(clock)
    threshold = settings.cost_alert_threshold
    tracked = settings.cost_tracking_enabled
    daily = None if threshold is None or not tracked else units(threshold)
    prompt_results = PromptResults(SqlPromptResultStore(database), clock)
    observer = CallObserver(metrics, events.notify, clock, prompt_results)
    witness = _witness(settings)
    store = CallStore(
        database,
        settings.data_dir / "journal",
        clock,
        daily,
        observer.alerts,
        witness,
        strict=settings.journal_sync == "strict",
    )
    calls = CallLedger(store.start, clock, budgets_enabled=tracked)

    def catch_up() -> None:
        """What calls have cost is in the ledger, those of dead processes of this machine included."""
        calls.flush()
        store.recover()

    audit = make_audit(settings, database, clock, catch_up=calls.flush)
    ledger = Ledger(
        SqlLedgerStore(database),
        clock,
        budgets_enabled=tracked,
        daily_threshold=daily,
        catch_up=calls.flush,
    )
    return Core(
        settings=settings,
        clock=clock,
        database=database,
        catalogue=catalogue,
        task_types=dict(known_task_types()),
        ledger=ledger,
        calls=calls,
        recover_calls=store.recover,
        audit=audit,
        artifacts=artifacts,
        registry=ModelRegistry(SqlRegistryStore(database), artifacts, clock),
        prompts=PromptService(SqlPromptStore(database), clock, prompt_results),
        events=events,
        engine=SqlEngineStore(database, default_webhook_url=settings.webhook_url),
        webhooks=SqlWebhookStore(database),
        kept=KeptStores.over(database, clock, catch_up),
        limits=_limits(settings.limits_url, clock),
        health=health,
        learner=Learner(SqlLearningStore(database), health, clock),
        metrics=metrics,
        accounts=Accounts(calls, audit, clock, observer),
        batch_money=SqlBatchMoney(database, clock, witness, tracked, daily, observer.alerts),
        observer=observer,
        egress=EgressClient(
            EgressPolicy(allow_loopback=settings.dev, allow_http=settings.dev, allowed_hosts=settings.webhook_hosts)
        ),
        tokenizers=BpeTokenizers(),
    )


def make_serving(core: Core) -> Serving:
    """Model calls for one event loop; its connections open there at first use."""
    transport = Transport()
    directory = ProviderDirectory(transport, LocalServerNote(core.settings.data_dir), core.clock)
    cache = AnswerCache(core.clock)
    tokens = TokenService(core.tokenizers)
    embed = EmbedService(lambda: core.catalogue.current, directory, core.accounts, core.limits, core.health, cache)
    semantic = SemanticCache(core.clock, embed)
    parts = (core.accounts, core.limits, core.health, cache, tokens, semantic, core.learner.standings)
    chat = ChatService(lambda: core.catalogue.current, directory, *parts)
    predict = PredictService(
        lambda: core.catalogue.current, core.registry, _Runtime(core.artifacts), core.accounts, core.limits
    )
    moderate = ModerateService(lambda: core.catalogue.current, directory, core.accounts, core.limits, core.health)
    respond = ResponsesService(chat, core.kept.responses, core.settings.store_responses, lambda: core.catalogue.current)
    offers = BatchOffers(chat, lambda: core.catalogue.current, directory, tokens, core.batch_money, core.clock)
    return Serving(chat, embed, moderate, predict, respond, offers, transport)


def make_identity(settings: Settings, database: Database, clock: Clock) -> Identity:
    """API keys of the database, and tokens of ours or of the configured issuer."""
    secret = settings.jwt_secret
    if not secret and not settings.jwks_url:
        secret = secret_for(settings.data_dir, "jwt").decode()
    jwt = JwtSettings(
        audience=settings.jwt_audience, issuer=settings.jwt_issuer, secret=secret, jwks_url=settings.jwks_url
    )
    return Identity(SqlKeyStore(database), clock, jwt=jwt, jwks=fetch_jwks if settings.jwks_url else None)


def _limits(url: str, clock: Clock) -> Limits:
    """Counted over all processes that share the store at ``url``, else for this one."""
    return SharedLimits(clock, RedisGrants(url), RedisPlaces(url)) if url else Limits(clock)


def make_audit(
    settings: Settings, database: Database, clock: Clock, catch_up: Callable[[], object] = lambda: None
) -> AuditLog:
    """The audit trail with its witness in the data directory."""
    return AuditLog(SqlAuditSink(database), clock, _witness(settings), catch_up=catch_up)


def _witness(settings: Settings) -> FileWitness:
    return FileWitness(settings.data_dir / "audit", secret_for(settings.data_dir, "audit"))


def watch_configuration(core: Core, *, every: float = 2.0) -> None:
    """Takes edits of the configuration files, and what other processes learned, while the process lives."""

    def watch() -> None:
        for turn in itertools.count(1):
            time.sleep(every)
            core.catalogue.refresh()
            core.learner.exchange(at_rest=turn % EXCHANGE_TURNS != 0)

    threading.Thread(target=watch, name="configuration", daemon=True).start()


def check_catalogue(catalogue: Catalogue) -> None:
    """A ``GatewayError`` for a configuration that must not come into force."""
    check_workflows(catalogue)
    check_prices(catalogue)


def check_prices(catalogue: Catalogue) -> None:
    """``ConfigurationInvalid`` for a price in models.yaml that nobody could charge by."""
    for spec in catalogue.models.values():
        check_price(spec.name, spec.price, predictive=spec.type not in API_MODEL_TYPES)


def check_workflows(catalogue: Catalogue) -> None:
    """``DefinitionInvalid`` for a workflow that cannot run with these models."""
    task_types = known_task_types()
    for raw in catalogue.workflows:
        definition = parse_definition(raw, task_types, lambda name: name in catalogue.models)
        check_models(definition, task_types, catalogue)


def await_schema(database: Database, seconds: float = 60.0) -> None:
    """Returns when the schema is this version's: another process is bringing it up to date right now,
    or nobody is (``ConfigurationInvalid`` after ``seconds``)."""
    deadline = time.monotonic() + seconds
    while not is_current(database):
        if time.monotonic() > deadline:
            raise ConfigurationInvalid(
                "the database's schema is not this version's", mend="run `ai-gateway db upgrade`"
            )
        time.sleep(0.05)
