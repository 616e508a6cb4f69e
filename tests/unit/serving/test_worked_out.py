"""What is worked out once for many calls holds as long as what it was worked out from, and no longer."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.errors import ModelNotFound, PermissionDenied
from gateway.ledger.price_card import PriceCard
from gateway.models.bound import Bound
from gateway.models.llm_models import Usage
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.security.access import Caller, caller_for
from gateway.serving.worked_out import Tariff, admission

MODEL = ModelSpec("small", "llm", "there", limits=Bound("model:small", requests=5))


def catalogue(epoch: str, **models: ModelSpec) -> Catalogue:
    return Catalogue(epoch, {"there": ProviderSpec("there", "openai")}, models, {})


def alice(role: str = "developer", *models: str) -> Caller:
    return caller_for("alice", role, key_id="key_1", models=models or ("*",), requests_per_minute=9)


def test_an_admission_is_kept_for_the_configuration_and_the_caller_that_it_is_of() -> None:
    caller, before = alice(), catalogue("1", small=MODEL)
    found = admission(before, caller, "small")
    assert found.spec is MODEL
    assert [bound.name for bound in found.bounds] == ["key:key_1", "model:small"]
    assert found.alone is not None
    assert found.alone.models == ("small",)
    assert admission(before, caller, "small") is found
    assert admission(before, alice(), "small") is not found


def test_another_configuration_counts_from_its_first_call() -> None:
    caller = alice()
    admission(catalogue("1", small=MODEL), caller, "small")
    wider = ModelSpec("small", "llm", "there", fallbacks=("large",))
    after = admission(catalogue("2", small=wider), caller, "small")
    assert [bound.name for bound in after.bounds] == ["key:key_1"]
    assert after.alone is None
    with pytest.raises(ModelNotFound):
        admission(catalogue("3", large=MODEL), caller, "small")


@pytest.mark.parametrize(
    ("caller", "refusal"), [(alice("viewer"), PermissionDenied), (alice("developer", "large"), ModelNotFound)]
)
def test_a_refusal_is_not_kept(caller: Caller, refusal: type[Exception]) -> None:
    for _ in range(2):
        with pytest.raises(refusal):
            admission(catalogue("1", small=MODEL), caller, "small")
    assert caller.worked_out == {}


def test_an_answer_is_charged_by_the_tier_that_it_names() -> None:
    usual, quick = (PriceCard(name, "test", input_per_million=Decimal(1)) for name in ("usual", "quick"))
    tariff = Tariff(usual, "", {"priority": quick}.__getitem__)
    assert tariff.of(Usage(1, 1)) is usual
    assert tariff.of(Usage(1, 1, tier="default")) is usual
    assert tariff.of(Usage(1, 1, tier="priority")) is quick
