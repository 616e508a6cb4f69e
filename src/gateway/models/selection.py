"""What a caller asks of the model that is chosen for a call (``strategy: auto``), and how it is said.

The same five fields come as an object (``selection`` of a ``model_config``), as headers
(``x-gateway-max-cost-usd`` for ``max_cost_usd``) and as query parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from msgspec import Struct

from gateway.errors import ValidationFailed
from gateway.money import UNITS_PER_USD, plain, usd

Capability = Literal["tools", "vision", "structured_output", "json_object"]
#: What a row may declare: tools, images in the input, answers held to a JSON schema, any JSON object.
CAPABILITIES: tuple[str, ...] = Capability.__args__  # type: ignore[attr-defined]
FIELDS = ("max_cost_usd", "max_latency_ms", "min_quality", "needs", "deterministic")
#: The field by the header that says it.
HEADERS: Mapping[str, str] = {f"x-gateway-{name.replace('_', '-')}": name for name in FIELDS}
_TRUE, _FALSE = (True, "1", "true"), (False, "0", "false")


class Selection(Struct, frozen=True):
    """The caller's limits for one choice.

    ``max_cost``: units that the worst case of an attempt may come to, so that no attempt can cost more;
    ``max_latency``: seconds to the first token (or the whole answer) as observed; ``min_quality``: 0 to 1;
    ``needs``: capabilities beside those that the request itself shows; ``deterministic``: no exploring.
    """

    max_cost: int | None = None
    max_latency: float | None = None
    min_quality: float | None = None
    needs: tuple[str, ...] = ()
    deterministic: bool = False

    def limits(self) -> dict[str, Any]:
        """What was asked, for the record: by the names of the fields, in their units."""
        named = {
            "max_cost_usd": None if self.max_cost is None else plain(usd(self.max_cost)),
            "max_latency_ms": None if self.max_latency is None else round(self.max_latency * 1000),
            "min_quality": self.min_quality,
            "deterministic": self.deterministic or None,
        }
        return {name: value for name, value in named.items() if value is not None}


NO_SELECTION = Selection()


def selection_of_headers(headers: Mapping[str, str]) -> Selection | None:
    """The limits among the headers (names in lower case); ``None`` where there is none of them."""
    if HEADERS.keys().isdisjoint(headers):
        return None
    return _read({name: headers[header] for header, name in HEADERS.items() if header in headers}, _header)


def read_selection(raw: Any, path: str) -> Selection:
    """The limits as an object at ``path`` (empty: query parameters). ``ValidationFailed`` names the field."""
    if not isinstance(raw, Mapping):
        raise ValidationFailed(f"{path}: an object is expected", param=path)
    for name in raw:
        if name not in FIELDS:
            place = _place(path, str(name)[:60])
            raise ValidationFailed(f"{place}: no such field", mend=f"fields here: {', '.join(FIELDS)}", param=place)
    return _read(raw, lambda name: _place(path, name))


def refuse_selection(selection: Selection, model: str) -> None:
    """``ValidationFailed`` where limits of a choice came for a model that is not chosen."""
    if selection != Selection(deterministic=selection.deterministic):
        raise ValidationFailed(
            f"limits on cost, latency, quality or needs count only where a model is chosen, and {model} is named",
            mend='ask for the model "auto" (or a route of strategy auto), or leave the limits out',
            param="selection",
        )


def _read(given: Mapping[str, Any], place: Callable[[str], str]) -> Selection:
    most = _number(given, "max_cost_usd", place, 0, 1_000_000)
    latency = _number(given, "max_latency_ms", place, 1, 3_600_000)
    quality = _number(given, "min_quality", place, 0, 1)
    return Selection(
        max_cost=None if most is None else int(most * UNITS_PER_USD),
        max_latency=None if latency is None else float(latency) / 1000,
        min_quality=None if quality is None else float(quality),
        needs=_needs(given.get("needs"), place("needs")),
        deterministic=_truth(given.get("deterministic"), place("deterministic")),
    )


def _number(given: Mapping[str, Any], name: str, place: Callable[[str], str], low: int, high: int) -> Decimal | None:
    value = given.get(name)
    if value is None:
        return None
    number = Decimal("NaN")
    if isinstance(value, (str, int, float)) and not isinstance(value, bool) and len(str(value)) <= 40:
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
    if not number.is_finite() or not low <= number <= high:
        raise ValidationFailed(f"{place(name)}: a number from {low} to {high} is expected", param=place(name))
    return number


def _needs(value: Any, place: str) -> tuple[str, ...]:
    named = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if named is None:
        return ()
    if not isinstance(named, (list, tuple)) or not all(item in CAPABILITIES for item in named):
        raise ValidationFailed(f"{place}: one or more of {', '.join(CAPABILITIES)}", param=place)
    return tuple(dict.fromkeys(named))


def _truth(value: Any, place: str) -> bool:
    if value is None or value in _FALSE:
        return False
    if value in _TRUE:
        return True
    raise ValidationFailed(f"{place}: true or false is expected", param=place)


def _header(name: str) -> str:
    return f"x-gateway-{name.replace('_', '-')}"


def _place(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
