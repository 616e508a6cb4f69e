"""``price`` of a model's row: one price card, a list of them, or ``none``. What cards say is checked by the ledger."""

from __future__ import annotations

from typing import Any

from gateway.registry.yaml_lines import Document, Path_


def read_price(document: Document, path: Path_, raw: Any) -> Any:
    """The row's price as it is written; ``None`` where it has none. ``ConfigurationInvalid`` for another shape."""
    if raw is None or raw == "none" or isinstance(raw, dict):
        return raw
    if isinstance(raw, list) and raw and all(isinstance(card, dict) for card in raw):
        return tuple(raw)
    raise document.wrong(path, "a price card, a list of price cards, or none is expected here")
