"""From the three files of the configuration directory to a ``Catalogue``; strict, with line numbers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from gateway.errors import ConfigurationInvalid, GatewayError
from gateway.models.guard import GuardSpec
from gateway.models.route import STRATEGIES, Deployment, Route, Strategy
from gateway.registry.batch_rows import read_batch
from gateway.registry.catalogue import (
    EMBEDDING_PROVIDER_TYPES,
    LLM_PROVIDER_TYPES,
    ML_PROVIDER_TYPES,
    MODEL_TYPES,
    PROVIDER_TYPES,
    Catalogue,
    ModelSpec,
    ProviderSpec,
    Timeouts,
)
from gateway.registry.guard_rows import guards_of, with_reach
from gateway.registry.limit_rows import read_limits
from gateway.registry.optimise_rows import read_optimise
from gateway.registry.price_rows import read_price
from gateway.registry.selection_rows import check_fallbacks, read_capabilities, read_quality, read_weights, with_auto
from gateway.registry.semantic_rows import read_semantic_cache
from gateway.registry.yaml_lines import Document, Path_, expand, read_yaml

FILES = ("providers.yaml", "models.yaml", "workflows.yaml")
_PROVIDER_FIELDS = {"type", "base_url", "api_key", "headers", "timeouts", "max_attempts", "options", "prices", "proxy"}
_MODEL_FIELDS = {
    "type", "provider", "upstream_model", "parameters", "alias", "price", "context_window", "max_output_tokens",
    "fallbacks", "route", "cache_seconds", "description", "options", "optimise", "count", "guards",
    "quality", "capabilities", "semantic_cache", "batch", "on_disconnect", "limits",
}  # fmt: skip
_ROUTE_FIELDS = {"deployments", "strategy", "sticky", "stream", "hedge_after", "weights"}
#: Which providers serve a type of model; our own serve every other type.
_ALLOWED = {"llm": LLM_PROVIDER_TYPES, "embedding": EMBEDDING_PROVIDER_TYPES, "moderation": LLM_PROVIDER_TYPES}
#: Classes of errors that may have fallbacks of their own, by the error's code.
FALLBACK_CLASSES = ("context_too_long", "content_refused")
_NEEDS_URL = frozenset({"openai", "anthropic", "openai_compatible", "azure_openai", "gemini", "vertex", "bedrock"})
#: Options without which a type cannot be called, and those it may have; secrets in them as ``${NAME}``.
_OPTIONS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "azure_openai": (frozenset(), frozenset({"api_version"})),
    "bedrock": (frozenset({"region"}), frozenset({"access_key_id", "session_token"})),
    "vertex": (frozenset({"credentials_file"}), frozenset()),
}


def load_catalogue(config_dir: Path, environ: Mapping[str, str]) -> Catalogue:
    """The catalogue of a directory. ``ConfigurationInvalid`` names file, line and mend."""
    providers_file, models_file, workflows_file = (read_yaml(config_dir / name) for name in FILES)
    providers = _providers(providers_file, environ)
    models, defaults = _models(models_file, providers)
    return Catalogue(
        epoch=_epoch(config_dir),
        providers=providers,
        models=models,
        defaults=defaults,
        workflows=_workflows(workflows_file),
    )


class CatalogueHolder:
    """The current catalogue; a bad edit keeps the last good one and ``last_error`` says why."""

    def __init__(
        self,
        config_dir: Path,
        environ: Mapping[str, str],
        check: Callable[[Catalogue], object] = lambda _catalogue: None,
    ) -> None:
        """``check`` raises for a catalogue that must not come into force: its workflows, say, cannot run."""
        self._dir = config_dir
        self._environ = environ
        self._check = check
        self._lock = threading.Lock()
        #: What to decide by now; hold on to it for one whole request. Changed by ``refresh`` alone.
        self.current = load_catalogue(config_dir, environ)
        self._seen = _epoch(config_dir)
        self.last_error: GatewayError | None = None

    def refresh(self) -> bool:
        """Reads the files again if they changed. True: a new catalogue is in force."""
        with self._lock:
            try:
                seen = _epoch(self._dir)
                if seen == self._seen:
                    return False
                self._seen = seen
                found = load_catalogue(self._dir, self._environ)
                self._check(found)
            except GatewayError as error:
                self.last_error = error
                return False
            self.current, self.last_error = found, None
            return True


def _epoch(config_dir: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        path = config_dir / name
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError as error:
            raise ConfigurationInvalid(
                f"{name} cannot be read ({type(error).__name__})", mend="check the file"
            ) from None
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:12]


def _providers(document: Document, environ: Mapping[str, str]) -> dict[str, ProviderSpec]:
    rows = _section(document, "providers")
    providers = {}
    for name, raw in rows.items():
        path: Path_ = ("providers", name)
        _object(document, path, raw, _PROVIDER_FIELDS)
        kind = raw.get("type")
        if kind not in PROVIDER_TYPES:
            raise document.wrong(
                (*path, "type"), "no such type of provider", f"known types: {', '.join(PROVIDER_TYPES)}"
            )
        missing: list[str] = []
        base_url = _text(document, (*path, "base_url"), expand(raw.get("base_url", ""), environ, missing))
        api_key = _text(document, (*path, "api_key"), expand(raw.get("api_key", ""), environ, missing))
        if kind in _NEEDS_URL and not missing:
            _check_url(document, (*path, "base_url"), base_url)
            if not api_key and kind != "vertex":
                raise document.wrong(
                    (*path, "api_key"), "is needed", 'write "${NAME}", or none for a server without keys'
                )
        headers = raw.get("headers", {})
        _object(document, (*path, "headers"), headers, None)
        options = _options(document, (*path, "options"), raw.get("options", {}), kind, environ, missing)
        providers[name] = ProviderSpec(
            name=name,
            type=kind,
            base_url=base_url.rstrip("/"),
            api_key="" if api_key == "none" else api_key,
            headers={str(key): str(expand(value, environ, missing)) for key, value in headers.items()},
            timeouts=_timeouts(document, (*path, "timeouts"), raw.get("timeouts", {})),
            max_attempts=_whole(document, (*path, "max_attempts"), raw.get("max_attempts", 3), 1, 6),
            missing=tuple(dict.fromkeys(missing)),
            options=options,
            prices=_text(document, (*path, "prices"), raw.get("prices", "")),
            proxy=_proxy(document, (*path, "proxy"), expand(raw.get("proxy", ""), environ, missing)),
        )
    return providers


def _options(
    document: Document, path: Path_, raw: Any, kind: str, environ: Mapping[str, str], missing: list[str]
) -> dict[str, Any]:
    known = _OPTIONS.get(kind)
    _object(document, path, raw, None if known is None else set(known[0] | known[1]))
    for name in sorted(known[0]) if known is not None else ():
        if not raw.get(name):
            raise document.wrong((*path, name), f"a provider of type {kind} needs it")
    if known is None:
        return dict(raw)
    unset: list[str] = []
    return {name: expand(value, environ, unset if name == "session_token" else missing) for name, value in raw.items()}


def _models(document: Document, providers: Mapping[str, ProviderSpec]) -> tuple[dict[str, ModelSpec], dict[str, str]]:
    rows = _section(document, "models", also={"defaults", "guards"})
    guards = guards_of(document, ("guards",), document.value.get("guards", []))
    models: dict[str, ModelSpec] = {}
    for name, raw in rows.items():
        path: Path_ = ("models", name)
        _object(document, path, raw, _MODEL_FIELDS)
        kind, provider = raw.get("type"), raw.get("provider")
        route = _route(document, path, raw, rows)
        if route is not None:
            provider = rows[route.deployments[0].model].get("provider")
        if kind not in MODEL_TYPES:
            raise document.wrong((*path, "type"), "no such type of model", f"known types: {', '.join(MODEL_TYPES)}")
        if provider not in providers:
            raise document.wrong((*path, "provider"), "no such provider", f"providers.yaml has: {', '.join(providers)}")
        allowed = _ALLOWED.get(kind, ML_PROVIDER_TYPES)
        if providers[provider].type not in allowed:
            raise document.wrong(
                (*path, "provider"), f"a provider of type {providers[provider].type} serves no {kind} model"
            )
        fallbacks, fallbacks_on = _fallbacks(document, (*path, "fallbacks"), raw.get("fallbacks", []))
        models[name] = ModelSpec(
            name=name,
            type=kind,
            provider=provider,
            upstream_model=_text(document, (*path, "upstream_model"), raw.get("upstream_model", "")),
            parameters=_object(document, (*path, "parameters"), raw.get("parameters", {}), None),
            alias=raw.get("alias"),
            price=read_price(document, (*path, "price"), raw.get("price")),
            context_window=_optional(document, (*path, "context_window"), raw.get("context_window")),
            max_output_tokens=_optional(document, (*path, "max_output_tokens"), raw.get("max_output_tokens")),
            fallbacks=fallbacks,
            fallbacks_on=fallbacks_on,
            route=route,
            cache_seconds=_whole(document, (*path, "cache_seconds"), raw.get("cache_seconds", 0), 0, 86_400),
            semantic_cache=read_semantic_cache(document, path, raw, rows),
            optimise=read_optimise(document, (*path, "optimise"), raw.get("optimise")),
            count=cast(Any, _word(document, path, raw, "count", ("bytes", "exact"))),
            guards=_guards(document, path, raw, kind, guards),
            quality=read_quality(document, path, raw),
            capabilities=read_capabilities(document, path, raw),
            batch=read_batch(document, path, raw, providers[provider]),
            on_disconnect=cast(Any, _word(document, path, raw, "on_disconnect", ("cancel", "drain"))),
            limits=read_limits(document, path, raw),
            description=_text(document, (*path, "description"), raw.get("description", "")),
            options=_model_options(document, (*path, "options"), raw.get("options", {}), providers[provider].type),
        )
    for name, spec in models.items():
        for fallback in (*spec.fallbacks, *(item for names in spec.fallbacks_on.values() for item in names)):
            if fallback not in models or models[fallback].type != spec.type or fallback == name:
                raise document.wrong(
                    ("models", name, "fallbacks"),
                    f"{fallback!r} is no other model of the same type",
                    "name a configured one",
                )
    check_fallbacks(document, models)
    models = with_auto(models, providers, guards)
    defaults = document.value.get("defaults", {})
    _object(document, ("defaults",), defaults, None)
    for task, model in defaults.items():
        if model not in models:
            raise document.wrong(("defaults", task), "no such model", f"models.yaml has: {', '.join(models)}")
    return with_reach(models), {str(task): str(model) for task, model in defaults.items()}


def _model_options(document: Document, path: Path_, raw: Any, kind: str) -> dict[str, Any]:
    """``options`` of a row: of Bedrock's how answers are held to a schema, else what the model's factory takes."""
    given = _object(document, path, raw, {"structured_output"} if kind == "bedrock" else None)
    if kind == "bedrock":
        _word(document, path, given, "structured_output", ("tool", "native"))
    return given


def _guards(
    document: Document, model: Path_, raw: Mapping[str, Any], kind: str, default: tuple[GuardSpec, ...]
) -> tuple[GuardSpec, ...]:
    """A row's own guards, else the default's; of an embedding those that look at input."""
    if "guards" in raw:
        if kind not in ("llm", "embedding"):
            raise document.wrong((*model, "guards"), f"a {kind} model takes no text: it has no guards")
        return guards_of(document, (*model, "guards"), raw["guards"], kind)
    if kind == "llm":
        return default
    return tuple(guard for guard in default if kind == "embedding" and "input" in guard.stages)


def _route(document: Document, model: Path_, raw: Mapping[str, Any], rows: Mapping[str, Any]) -> Route | None:
    """``route`` of a row: deployments are other rows of the same type, none of them a route itself."""
    if "route" not in raw:
        return None
    path: Path_ = (*model, "route")
    given = _object(document, path, raw["route"], _ROUTE_FIELDS)
    for name in ("provider", "upstream_model"):
        if name in raw:
            raise document.wrong((*model, name), "a model with a route has its deployments' own", "leave it out")
    if raw.get("type") != "llm":
        raise document.wrong((*model, "type"), "only a language model has a route")
    listed = given.get("deployments")
    if not isinstance(listed, list) or not listed:
        raise document.wrong((*path, "deployments"), "a list of at least one model is expected here")
    deployments = [_deployment(document, (*path, "deployments"), item) for item in listed]
    for item in deployments:
        row = rows.get(item.model)
        if not isinstance(row, dict) or "route" in row or row.get("type") != raw["type"]:
            what = f"{item.model!r} is no deployment of the same type"
            raise document.wrong((*path, "deployments"), what, "name a model without a route")
    if len({item.model for item in deployments}) < len(deployments):
        raise document.wrong((*path, "deployments"), "a model stands here twice", "give it a weight instead")
    hedge = given.get("hedge_after")
    if hedge is not None and (isinstance(hedge, bool) or not isinstance(hedge, (int, float)) or not 0 < hedge <= 600):
        raise document.wrong((*path, "hedge_after"), "seconds from 0 to 600 are expected here")
    return Route(
        deployments=tuple(deployments),
        strategy=cast(Strategy, _word(document, path, given, "strategy", STRATEGIES)),
        sticky=cast(Any, _word(document, path, given, "sticky", ("none", "session", "prefix"))),
        stream=cast(Any, _word(document, path, given, "stream", ("live", "atomic"))),
        hedge_after=None if hedge is None else float(hedge),
        weights=read_weights(document, path, given),
    )


def _deployment(document: Document, path: Path_, raw: Any) -> Deployment:
    if isinstance(raw, str):
        return Deployment(raw)
    given = _object(document, path, raw, {"model", "weight"})
    weight = given.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= 1_000_000:
        raise document.wrong(path, "weight: a number above 0 is expected")
    return Deployment(str(given.get("model")), float(weight))


def _word(document: Document, path: Path_, given: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    """One of the ``known`` words; the first where nothing is said."""
    word = given.get(name, known[0])
    if word not in known:
        raise document.wrong((*path, name), "no such word", f"known here: {', '.join(known)}")
    return str(word)


def _fallbacks(document: Document, path: Path_, raw: Any) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """A list of models; or such a list for ``any`` error and for classes of errors, by their code."""
    by_class = {"any": raw} if isinstance(raw, list) else _object(document, path, raw, {"any", *FALLBACK_CLASSES})
    for name, models in by_class.items():
        if not isinstance(models, list):
            raise document.wrong((*path, name), "a list of model names")
    listed = {name: tuple(str(item) for item in models) for name, models in by_class.items()}
    return listed.pop("any", ()), listed


def _workflows(document: Document) -> tuple[dict[str, Any], ...]:
    raw = document.value or {}
    _object(document, (), raw, {"workflows"})
    rows = raw.get("workflows", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise document.wrong(("workflows",), "a list of workflow definitions")
    return tuple(rows)


def _section(document: Document, name: str, also: set[str] | None = None) -> dict[str, Any]:
    _object(document, (), document.value, {name, *(also or set())})
    return _object(document, (name,), document.value.get(name, {}), None)


def _object(document: Document, path: Path_, value: Any, fields: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise document.wrong(path, "an object is expected here")
    for key in value:
        if fields is not None and key not in fields:
            raise document.wrong((*path, key), "no such field", f"fields here: {', '.join(sorted(fields))}")
    return value


def _text(document: Document, path: Path_, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise document.wrong(path, "a text is expected here", "put it in quotes")
    return value


def _whole(document: Document, path: Path_, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise document.wrong(path, f"a whole number from {low} to {high} is expected here")
    return value


def _optional(document: Document, path: Path_, value: Any) -> int | None:
    return None if value is None else _whole(document, path, value, 1, 100_000_000)


def _timeouts(document: Document, path: Path_, raw: Any) -> Timeouts:
    _object(document, path, raw, {"connect", "first_byte", "idle", "total", "first_token"})
    for name, value in raw.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 3600:
            raise document.wrong((*path, name), "seconds from 0 to 3600 are expected here")
    return Timeouts(**{name: float(value) for name, value in raw.items()})


def _proxy(document: Document, path: Path_, raw: Any) -> str:
    """The URL of an HTTP proxy, with its user and password where it wants them."""
    url = _text(document, path, raw)
    parts = urlsplit(url)
    if url and (parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/")):
        raise document.wrong(path, "http://host:port of a proxy is expected here")
    return url


def _check_url(document: Document, path: Path_, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise document.wrong(path, "an http(s) URL without credentials is expected here")
