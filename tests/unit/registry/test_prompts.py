"""Prompt templates over a real database: versions, variables, labels, splits, and the sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.money_kit import ManualClock, open_database
from fixtures.prompt_suite import KEY, PromptSuite, said, service, three
from gateway.errors import GatewayError, NotFound, ValidationFailed
from gateway.models.llm_models import TextPart
from gateway.registry.prompt_ask import PromptAsk
from gateway.registry.prompt_diff import diff
from gateway.registry.prompt_labels import SplitKey, Target, choose
from gateway.registry.prompt_variables import Variable, check_values
from gateway.registry.prompt_version import NewPrompt, Turn
from gateway.registry.prompts import PromptService
from gateway.store.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def prompts(database: Database, clock: ManualClock) -> PromptService:
    return service(database, clock)


class TestPromptsOnSqlite(PromptSuite):
    """What is kept, and moved."""


def inline(prompts: PromptService, template: str, **variables: Any) -> str:
    return prompts.render(PromptAsk(text=template, variables=variables), KEY).messages[0].text()


def test_a_turn_that_is_empty_is_left_out(prompts: PromptService) -> None:
    turns = (Turn("system", "{% if a %}Be {{ a }}{% endif %}"), Turn("user", "Hello"))
    prompts.add(NewPrompt("p", turns=turns), "alice")
    assert said(prompts.render(PromptAsk("p", variables={"a": ""}), KEY)) == "user:Hello"
    with pytest.raises(ValidationFailed, match="empty"):
        inline(prompts, "{{ a }}", a="  ")


@pytest.mark.parametrize(
    ("template", "variables", "param"),
    [
        ("{{ a", {}, "template"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", {}, "template"),
        ("{% for x in %}", {}, "template"),
        ("{{ a|nothing }}", {"a": 1}, "template"),
        ("{{ a }}", {}, "variables.a"),
        ("{{ a.b }}", {"a": {}}, "variables"),
        ("{{ a }}", [], "variables"),
        ("{{ a }}", {"a": 1, "b": 1}, "variables.b"),
        ("{{ a ** a ** a }}", {"a": 9999}, "template"),
        ("{{ 'x' * n }}", {"n": 10**9}, "template"),
        ("{% for x in range(n) %}y{% endfor %}", {"n": 10**9}, "template"),
        ("{% for i in range(99999) %}{% set b = a|sort %}{% endfor %}", {"a": ["x" * 9] * 20_000}, "template"),
        ("{{ a }}{{ a }}", {"a": "x" * 600_000}, "template"),
        ("x" * 100_001, {}, "template"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_why(
    prompts: PromptService, template: str, variables: Any, param: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        prompts.render(PromptAsk(text=template, variables=variables), KEY)
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
        "{{ 1.5|round(1000000000, 'ceil') }}",
        "{{ [1]|batch(1000000000, 0)|list }}",
        "{{ [1]|slice(1000000000, 0)|list }}",
        "{{ [1]|tojson(indent=1000000000) }}",
        "{% set b = a %}" + "{% set b = [b, b, b, b, b, b, b, b, b, b] %}" * 12 + "{{ b }}",
        "{% set b %}{% for i in range(9999) %}{{ a }}{% endfor %}{% endset %}",
        "{% filter upper %}{{ a }}{% endfilter %}",
        "{{ a|attr('append') }}",
        "{{ a|map(attribute='__class__')|join }}",
        "{{ range.__globals__ }}",
        "{{ loop.__class__ }}",
    ],
)
def test_a_template_stays_in_its_sandbox(prompts: PromptService, template: str) -> None:
    with pytest.raises(ValidationFailed):
        inline(prompts, "{{ a|length }}" + template, a=[1])


def test_what_prompts_are_written_with_works(prompts: PromptService) -> None:
    template = (
        "{% for row in rows if row.ok %}{{ loop.index }}. {{ row.name|upper }}: {{ '%s' }}{{ row.value|round(2) }}"
        "{{ ', ' if not loop.last }}{% endfor %} {% set total = rows|map(attribute='value')|sum %}{{ total * 2 }} "
        "{{ rows|length ~ ' rows' }} {{ names|join('/') }} {{ facts|tojson }} {{ facts.items()|list|length }} "
        "{{ x or 'none' }} {{ [2, 1]|sort|join(',') }} {% for row in [1, 2, 3]|batch(2) %}{{ row|length }}{% endfor %} "
        "{% for k, v in facts.items() %}{{ k ~ v }}{% endfor %} {{ (1, 2)[0] }} {{ {'k': 1}.k }}"
    )
    rows = [{"ok": True, "name": "var", "value": 1.239}, {"ok": False, "name": "es", "value": 2}]
    rendered = inline(prompts, template, rows=rows, names=["a", "b"], facts={"n": 1}, x="")
    assert rendered == '1. VAR: %s1.24 6.478 2 rows a/b {"n": 1} 1 none 1,2 21 n1 1 1'


@pytest.mark.parametrize(
    ("variable", "good", "bad"),
    [
        (Variable("v", "string", max_length=3, min_length=1), ["abc"], ["", "abcd", 1, None, True]),
        (Variable("v", "string", pattern="[a-z]+"), ["abc"], ["a1", "abc\n", "", 1]),
        (Variable("v", "string", pattern="(a+)+"), ["aaa"], ["a" * 50_000 + "!"]),
        (Variable("v", "string", enum=("low", "high")), ["low"], ["LOW", "", 1]),
        (Variable("v", "integer", minimum=1, maximum=9), [1, 9], [0, 10, 1.5, "1", True]),
        (Variable("v", "number", minimum=0), [0, 0.5], [-0.1, "1", False]),
        (Variable("v", "boolean"), [True, False], [0, "true", None]),
        (Variable("v", "list", max_length=2), [[1, 2]], [[1, 2, 3], "ab", {}]),
        (Variable("v", "object", min_length=1), [{"a": 1}], [{}, [], "x"]),
        (Variable("v"), [1, "x", None, []], []),
    ],
)
def test_values_are_held_to_their_variables(variable: Variable, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert check_values([variable], {"v": value}) == {"v": value}
    for value in bad:
        with pytest.raises(ValidationFailed, match="expected") as caught:
            check_values([variable], {"v": value})
        assert caught.value.param == "variables.v"


def test_an_error_names_the_variable_and_never_its_value() -> None:
    variables = [Variable("token", "string", max_length=9), Variable("n", "integer", False, 3)]
    with pytest.raises(ValidationFailed) as caught:
        check_values(variables, {"token": "hunter2-hunter2"}, "prompt.variables")
    told = f"{caught.value.message} {caught.value.mend} {caught.value.details}"
    assert caught.value.message == "prompt.variables.token: a text of at most 9 characters is expected"
    assert "hunter2" not in told
    with pytest.raises(ValidationFailed, match="missing: token") as caught:
        check_values(variables, {})
    assert "token is a text" in caught.value.mend
    assert check_values(variables, {"token": "x"}) == {"token": "x", "n": 3}


def test_a_version_declares_all_it_uses_or_nothing(prompts: PromptService) -> None:
    with pytest.raises(ValidationFailed, match="uses b") as caught:
        prompts.add(NewPrompt("p", "{{ a }}{{ b }}", inputs=(Variable("a"),)), "alice")
    assert caught.value.param == "variables.b"
    prompts.add(NewPrompt("p", "{{ a }}", inputs=(Variable("a"), Variable("unused", required=False))), "alice")
    assert said(prompts.render(PromptAsk("p", variables={"a": 1, "unused": 2}), KEY)) == "user:1"


def test_a_label_is_taken_away_and_brought_back(prompts: PromptService) -> None:
    three(prompts)
    prompts.point("p", "staging", (Target(1),), "bob")
    assert said(prompts.render(PromptAsk("p", label="staging"), KEY)) == "user:version 1"
    prompts.remove("p", "staging", "bob")
    with pytest.raises(NotFound):
        prompts.render(PromptAsk("p", label="staging"), KEY)
    with pytest.raises(NotFound):
        prompts.remove("p", "staging", "bob")
    assert prompts.labels.all("p") == []
    assert prompts.rollback("p", "staging", "bob").targets == (Target(1),)


def test_another_process_sees_a_move_within_a_second(database: Database, clock: ManualClock) -> None:
    here, there = service(database, clock), service(database, clock)
    three(here)
    here.point("p", "production", (Target(1),), "bob")
    assert said(there.render(PromptAsk("p"), KEY)) == "user:version 1"
    here.point("p", "production", (Target(2),), "bob")
    assert said(here.render(PromptAsk("p"), KEY)) == "user:version 2"
    clock.pass_seconds(2)
    assert said(there.render(PromptAsk("p"), KEY)) == "user:version 2"


@pytest.mark.parametrize("label", ["", "a b", "x" * 65, "1x", "latest", "a/b"])
def test_a_label_has_a_plain_name(prompts: PromptService, label: str) -> None:
    three(prompts)
    with pytest.raises(ValidationFailed):
        prompts.point("p", label, (Target(1),), "bob")


def test_a_label_points_only_at_what_is_there(prompts: PromptService) -> None:
    three(prompts)
    for name, targets in (("p", (Target(9),)), ("nothing", (Target(1),))):
        with pytest.raises(NotFound):
            prompts.point(name, "x", targets, "bob")
    with pytest.raises(NotFound):
        prompts.labels.history("p", "x")
    prompts.add(NewPrompt("p", "{{ tone }}"), "alice")
    with pytest.raises(ValidationFailed, match="versions 1 and 4 take different variables: tone"):
        prompts.point("p", "x", (Target(1), Target(4)), "bob")


def test_a_conversation_stays_on_its_version_and_the_shares_hold(prompts: PromptService) -> None:
    three(prompts)
    split = (Target(1, 7), Target(2, 3))
    prompts.point("p", "production", split, "bob")
    keys = [SplitKey("session", f"s{number}") for number in range(4000)]
    chosen = {key.value: choose("p", "production", split, key).version for key in keys}
    assert Counter(chosen.values())[2] == pytest.approx(1200, abs=120)
    rendered = [prompts.render(PromptAsk("p"), key) for key in keys[:50] * 2]
    assert [one.header for one in rendered] == [f"p@{chosen[key.value]}" for key in keys[:50] * 2]
    assert rendered[0].note is not None
    assert rendered[0].note["split"] == {"weights": {"1": 7, "2": 3}, "by": "session"}
    moved = (Target(1, 8), Target(2, 2))
    later = {key.value: choose("p", "production", moved, key).version for key in keys}
    assert all(later[key] == 1 for key, version in chosen.items() if version == 1), "only one way"
    other = [choose("p", "staging", split, key).version for key in keys]
    assert other != list(chosen.values()), "labels are split independently of each other"


def test_what_differs_is_told_field_by_field(prompts: PromptService) -> None:
    old = prompts.add(NewPrompt("p", "one\ntwo\nthree", inputs=(Variable("a", "string"),)), "alice")
    new = prompts.add(NewPrompt("p", "one\n2\nthree", inputs=(Variable("a", "integer"),)), "alice")
    assert diff(old, old) == []
    told = {change["field"]: change["lines"] for change in diff(old, new)}
    assert told["template"] == ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"]
    assert '-  "type": "string"' in told["variables.a"]
    assert told.keys() == {"template", "variables.a"}


def test_a_prompt_is_what_the_model_reads(prompts: PromptService) -> None:
    rendered = prompts.render(PromptAsk(text="Hello {{ a }}", variables={"a": "<b>"}), KEY)
    assert rendered.messages[0].parts == (TextPart("Hello <b>"),)
    assert (rendered.header, rendered.notes) == ("", {})
