"""Artifacts that are loaded, and those that are refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway.errors import ArtifactCorrupt, NotFound, NotSupported
from gateway.ml import formats
from gateway.ml.runtime import LOADERS, ModelRuntime, load
from gateway.ml.training import TrainedModel, TrainingTable
from gateway.models.artifacts import ArtifactRef
from gateway.models.ml_models import Family, Features, ModelVersion

SOURCE = Path(__file__).parents[3] / "src"


class Shelf:
    """Artifacts in memory, counting what is read."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads = 0

    def put(self, content: bytes, media_type: str) -> ArtifactRef:
        digest = hashlib.sha256(content).hexdigest()
        self.kept[digest] = content
        return ArtifactRef(digest, media_type, len(content))

    def get(self, sha256: str) -> bytes:
        self.reads += 1
        if sha256 not in self.kept:
            raise NotFound("no such artifact")
        return self.kept[sha256]


def registered(model: TrainedModel, shelf: Shelf, *, family: Family | None = None, number: int = 1) -> ModelVersion:
    return ModelVersion(
        model="m",
        version=number,
        family=family or model.family,
        format=model.format,
        artifact=shelf.put(model.content, "application/json").sha256,
        schema=model.schema,
        metrics=model.metrics,
        card=model.card,
        data_hash=model.data_hash,
        seed=model.seed,
        libraries=model.libraries,
        created_at=0,
        created_by="test",
    )


@pytest.fixture
def every_model(
    classifier: TrainedModel, regressor: TrainedModel, detector: TrainedModel, segments: TrainedModel
) -> list[TrainedModel]:
    return [classifier, regressor, detector, segments]


def test_every_format_has_a_loader() -> None:
    assert set(LOADERS) == set(formats.FORMATS)


def test_a_version_is_read_once_and_kept(classifier: TrainedModel) -> None:
    shelf = Shelf()
    runtime, version = ModelRuntime(shelf), registered(classifier, shelf)
    assert runtime.predictor(version) is runtime.predictor(version)
    assert shelf.reads == 1


def test_the_least_recently_used_is_dropped(classifier: TrainedModel, detector: TrainedModel) -> None:
    shelf = Shelf()
    runtime = ModelRuntime(shelf, capacity=1)
    first, second = registered(classifier, shelf), registered(detector, shelf)
    for version in (first, second, first):
        runtime.predictor(version)
    assert shelf.reads == 3


def test_bytes_without_their_hash_are_refused(every_model: list[TrainedModel]) -> None:
    for model in every_model:
        shelf = Shelf()
        version = registered(model, shelf)
        content = bytearray(model.content)
        content[len(content) // 2] ^= 1
        shelf.kept[version.artifact] = bytes(content)
        with pytest.raises(ArtifactCorrupt, match="hash"):
            ModelRuntime(shelf).predictor(version)


def test_an_unknown_format_is_refused(classifier: TrainedModel) -> None:
    shelf = Shelf()
    version = msgspec.structs.replace(registered(classifier, shelf), format="pickle")
    with pytest.raises(NotSupported, match="not one this gateway loads"):
        ModelRuntime(shelf).predictor(version)


def test_a_format_of_another_family_is_refused(classifier: TrainedModel) -> None:
    shelf = Shelf()
    with pytest.raises(ArtifactCorrupt, match="family"):
        ModelRuntime(shelf).predictor(registered(classifier, shelf, family="clustering"))


def test_truncated_foreign_and_altered_documents_are_refused(every_model: list[TrainedModel]) -> None:
    for model in every_model:
        document = msgspec.json.decode(model.content)
        wrong = [
            b"",
            b"\x80\x04\x95",
            model.content[:-20],
            b'{"container": 1}',
            msgspec.json.encode({**document, "container": 2}),
            msgspec.json.encode({**document, "format": "other"}),
            msgspec.json.encode({**document, "more": 1}),
            msgspec.json.encode({**document, "body": {**document["body"], "more": 1}}),
            msgspec.json.encode({**document, "body": {}}),
        ]
        for content in wrong:
            with pytest.raises(ArtifactCorrupt):
                load(model.format, content, model.schema)


def test_trees_of_another_width_are_refused(classifier: TrainedModel, segments: TrainedModel) -> None:
    with pytest.raises(ArtifactCorrupt, match="5 features"):
        load(classifier.format, classifier.content, segments.schema)


def test_no_text_that_is_not_a_model_is_taken_for_trees(classifier: TrainedModel) -> None:
    document = msgspec.json.decode(classifier.content)
    document["body"]["trees"] = "not a model"
    with pytest.raises(ArtifactCorrupt):
        load(classifier.format, msgspec.json.encode(document), classifier.schema)


def test_arrays_that_are_short_or_not_finite_are_refused() -> None:
    content = formats.to_bytes(np.array([1.0, np.nan]))
    with pytest.raises(ArtifactCorrupt, match="finite"):
        formats.from_bytes(content, 2)
    with pytest.raises(ArtifactCorrupt, match="16 bytes, not 24"):
        formats.from_bytes(content, 3)


def test_threads_get_the_same_answers(classifier: TrainedModel, class_table: TrainingTable) -> None:
    predictor = load(classifier.format, classifier.content, classifier.schema)
    wanted = Features(rows=tuple(map(tuple, class_table.x[:200].tolist())), explain=True)
    alone = predictor.predict(wanted)
    with ThreadPoolExecutor(4) as pool:
        assert all(answer == alone for answer in pool.map(predictor.predict, [wanted] * 12))


def test_serving_needs_no_training_library() -> None:
    code = (
        "import sys, gateway.ml.runtime, gateway.ml.lightgbm_native as native; native._library();"
        "print([name for name in ('sklearn', 'lightgbm', 'pandas', 'scipy') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert ran.stdout.strip() == "[]"
