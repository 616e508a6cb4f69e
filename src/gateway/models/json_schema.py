"""JSON schemas that come from others, made ready to check with: in linear time, and without leaving them."""

from __future__ import annotations

from typing import Any

import jsonschema_rs


def ready_schema(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The checker. ``ValueError`` for what is no schema, has a reference that leads out of it, or a pattern
    with look-around (patterns are matched in linear time)."""
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(str(error).splitlines()[0][:200]) from None
