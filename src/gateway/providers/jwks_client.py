"""Fetches the keys of a token issuer that the operator configured."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

_LARGEST = 1_000_000


def fetch_jwks(url: str) -> Mapping[str, Any]:
    """The JWKS document. ``OSError`` or ``ValueError`` where there is none. Blocks for at most 5 seconds."""
    if not url.startswith(("https://", "http://")):
        raise OSError("a JWKS address is an http(s) URL")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        document = json.loads(answer.read(_LARGEST))
    if not isinstance(document, dict):
        raise OSError("the JWKS document is not an object")
    return document
