"""Prompt templates and model versions over a real database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fixtures.ledger_house import together
from fixtures.money_kit import ManualClock, open_database
from gateway.errors import Conflict, GatewayError, ModelNotFound, ModelNotReady, NotFound, ValidationFailed
from gateway.models.ml_models import ModelSchema
from gateway.registry.model_registry import ModelRegistry, NewVersion
from gateway.registry.prompts import PromptService
from gateway.store.artifact_store import SqlArtifactStore
from gateway.store.engine import Database
from gateway.store.prompt_store import SqlPromptStore
from gateway.store.registry_store import SqlRegistryStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


@pytest.fixture
def prompts(database: Database) -> PromptService:
    return PromptService(SqlPromptStore(database), ManualClock())


@pytest.fixture
def registry(database: Database) -> ModelRegistry:
    return ModelRegistry(SqlRegistryStore(database), SqlArtifactStore(database, ManualClock()), ManualClock())


def test_versions_of_a_prompt(prompts: PromptService) -> None:
    first = prompts.add("risk-summary", "Summarise {{ facts }} in {{ words }} words.", "alice")
    assert (first.version, first.variables) == (1, ("facts", "words"))
    prompts.add("risk-summary", "Sum up {{ facts }}.", "bob")
    assert prompts.get("risk-summary").version == 2
    assert prompts.render("risk-summary@1", {"facts": "VaR", "words": 9}) == "Summarise VaR in 9 words."
    assert prompts.render({"name": "risk-summary"}, {"facts": "VaR"}) == "Sum up VaR."
    assert prompts.render({"text": "plain"}, {}) == "plain"
    assert prompts.render("{{ a }}!", {"a": 1}) == "1!"
    assert [one.version for one in prompts.versions("risk-summary")] == [2, 1]
    assert [one.version for one in prompts.newest()] == [2]


@pytest.mark.parametrize(
    ("template", "variables", "param"),
    [
        ("{{ a", {}, "template"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", {}, "template"),
        ("{% for x in %}", {}, "template"),
        ("{{ a }}", {}, "variables"),
        ("{{ a.b }}", {"a": {}}, "variables"),
        ("{{ a }}", [], "variables"),
        ("nothing@x", {}, "template"),
        (7, {}, "template"),
        ({"name": "x", "version": True}, {}, "template"),
        ("{{ a ** a ** a }}", {"a": 9999}, "template"),
        ("{{ 'x' * n }}", {"n": 10**9}, "template"),
        ("{% for x in range(n) %}y{% endfor %}", {"n": 10**9}, "template"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_why(
    prompts: PromptService, template: Any, variables: Any, param: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        prompts.render(template, variables)
    assert caught.value.param == param
    assert caught.value.status < 500


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ a.__init__.__globals__ }}",
        "{{ a.append(1) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% include 'x' %}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% set b = 'x' * 2 %}{{ b }}",
        "{{ 2 ** 99999 }}",
        "{% set b = a|join %}" + "{% set b = b ~ b ~ 'xx' %}" * 60 + "{{ b }}",
        "{% set b = [1] %}" + "{% set b = b + b %}" * 60 + "{{ b|length }}",
        "{% set b = 'x' %}" + "{% set b = b|replace('x', 'xxxxxxxxxx') %}" * 12 + "{{ b }}",
        "{{ self.__init__ }}",
        "{{ lipsum() }}",
        "{% for x in [[1]] recursive %}{{ loop(x) }}{% endfor %}",
    ],
)
def test_a_template_stays_in_its_sandbox(prompts: PromptService, template: str) -> None:
    with pytest.raises(ValidationFailed):
        prompts.render({"text": template}, {"a": [1]})


def test_prompts_have_plain_names(prompts: PromptService) -> None:
    for name in ("", "a/b", "a b", "x" * 101, "../x"):
        with pytest.raises(ValidationFailed):
            prompts.add(name, "x", "alice")
    with pytest.raises(NotFound):
        prompts.get("nothing")


def new(content: bytes = b"weights", seed: int = 1) -> NewVersion:
    return NewVersion(
        model="risk",
        family="classification",
        format="test",
        content=content,
        schema=ModelSchema(features=()),
        metrics={"auc": 0.9},
        card={"limits": "a test"},
        data_hash="d" * 64,
        seed=seed,
        libraries={},
        created_by="alice",
    )


def test_the_first_version_is_the_champion_and_later_ones_are_promoted(registry: ModelRegistry) -> None:
    with pytest.raises((ModelNotFound, ModelNotReady)):
        registry.resolve("risk")
    assert registry.register(new()).version == 1
    second = registry.register(new(b"other"))
    assert (second.version, registry.resolve("risk").version) == (2, 1)
    registry.promote("risk", 2, by="alice")
    assert registry.resolve("risk").version == 2
    assert registry.resolve("risk", version=1).version == 1
    assert registry.rollback("risk", by="alice").version == 1
    assert registry.resolve("risk").version == 1
    registry.promote("risk", 2, alias="challenger", by="alice")
    assert registry.resolve("risk", alias="challenger").version == 2
    with pytest.raises(Conflict):
        registry.rollback("risk", alias="challenger", by="alice")
    for wish in ({"version": 9}, {"alias": "nobody"}):
        with pytest.raises(ModelNotFound):
            registry.resolve("risk", **wish)


def test_versions_are_numbered_once_each(registry: ModelRegistry) -> None:
    results = together(lambda number: registry.register(new(bytes([number]), number)).version, 6)
    assert sorted(number for number in results if isinstance(number, int)) == [1, 2, 3, 4, 5, 6]


def test_an_artifact_is_its_hash(registry: ModelRegistry, database: Database) -> None:
    version = registry.register(new(b"weights"))
    store = SqlArtifactStore(database, ManualClock())
    assert version.artifact == hashlib.sha256(b"weights").hexdigest()
    assert store.get(version.artifact) == b"weights"
    with database.begin() as connection:
        connection.execute(text("UPDATE artifact SET content = :content"), {"content": b"tampered"})
    with pytest.raises(GatewayError):
        store.get(version.artifact)


def test_what_prompts_are_written_with_works(prompts: PromptService) -> None:
    text = (
        "{% for row in rows if row.ok %}{{ loop.index }}. {{ row.name|upper }}: {{ '%s' }}{{ row.value|round(2) }}"
        "{{ ', ' if not loop.last }}{% endfor %} {% set total = rows|map(attribute='value')|sum %}{{ total * 2 }} "
        "{{ rows|length ~ ' rows' }} {{ names|join('/') }} {{ facts|tojson }} {{ facts.items()|list|length }}"
        "{% if missing is defined %}no{% endif %}{{ x or 'none' }}"
    )
    rows = [{"ok": True, "name": "var", "value": 1.239}, {"ok": False, "name": "es", "value": 2}]
    rendered = prompts.render(
        {"text": text}, {"rows": rows, "names": ["a", "b"], "facts": {"n": 1}, "x": "", "missing": None}
    )
    assert rendered.startswith("1. VAR: %s1.24 ")
    assert "2 rows a/b" in rendered
    assert '{"n": 1} 1' in rendered
