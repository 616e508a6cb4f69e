"""What is said of one door: all that OpenAPI tells of an operation beside its path, its summary and its permission."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.api.described.param import Param
from gateway.api.described.shapes import Schema

JSON = "application/json"


class Described(Struct, frozen=True, kw_only=True):
    """``answer`` is what it gives where all is well: a schema of JSON (``None``: nothing, 204), ``media`` what it may
    give instead, by media type. ``once`` doors take ``Idempotency-Key``, ``calls`` are doors that call a model.
    ``errors`` are statuses beside those that follow from the rest; ``also`` a second good status with that answer.
    ``body_media`` is the media type of the body. ``places`` are
    the parts of the path that not every text can be; ``says`` is told beside the summary."""

    tag: str
    answer: Schema | None = None
    media: Mapping[str, Schema] = {}
    body: Schema | None = None
    body_media: str = JSON
    query: tuple[Param, ...] = ()
    headers: tuple[str, ...] = ()
    once: bool = False
    calls: bool = False
    places: Mapping[str, Schema] = {}
    errors: tuple[int, ...] = ()
    also: int | None = None
    says: str = ""

    def read(self, name: str, given: str) -> str | None:
        """What is given for a query parameter, where there is one of that name; ``ValidationFailed`` for what its
        declaration does not allow."""
        for param in self.query:
            if param.name == name:
                param.check(given)
                return given
        return None


DescribedDoors = Mapping[tuple[str, str], Described]
