"""``semantic_cache`` of a row of ``models.yaml``; strict, with line numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.models.semantic import LONGEST, USUAL_THRESHOLD, SemanticRule
from gateway.registry.yaml_lines import Document, Path_

_FIELDS = ("model", "threshold", "ttl")


def read_semantic_cache(
    document: Document, model: Path_, raw: Mapping[str, Any], rows: Mapping[str, Any]
) -> SemanticRule | None:
    """``None`` where the row asks for nothing."""
    given = raw.get("semantic_cache")
    if given is None or given is False:  # YAML 1.1 reads a bare off as false
        return None
    path: Path_ = (*model, "semantic_cache")
    if raw.get("type") != "llm":
        raise document.wrong(path, "only a language model's answers are kept so")
    if not isinstance(given, dict):
        raise document.wrong(path, "an object is expected here", "such as {model: minilm}")
    for name in given:
        if name not in _FIELDS:
            raise document.wrong((*path, name), "no such field", f"fields here: {', '.join(_FIELDS)}")
    row = rows.get(str(given.get("model")))
    if not isinstance(row, dict) or row.get("type") != "embedding":
        raise document.wrong((*path, "model"), "no embedding model of that name is configured")
    threshold, ttl = given.get("threshold", USUAL_THRESHOLD), given.get("ttl", SemanticRule("").ttl)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0.5 <= threshold <= 1:
        raise document.wrong((*path, "threshold"), "a cosine from 0.5 to 1 is expected here")
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= LONGEST:
        raise document.wrong((*path, "ttl"), f"seconds from 1 to {LONGEST} are expected here")
    return SemanticRule(given["model"], float(threshold), ttl)
