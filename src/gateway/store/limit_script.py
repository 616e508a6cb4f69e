"""A script that runs in Redis or Valkey at once, for what processes share; loaded with its first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from gateway.errors import Unavailable

#: Longer than this no call waits for an answer.
_SECONDS = 0.25


class LimitScript:
    """The script ``text`` on the server at ``url``."""

    def __init__(self, url: str, text: str) -> None:
        self._url = url
        self._text = text
        self._script: Callable[..., Any] | None = None
        self._error: type[Exception] = Exception
        self._loading = threading.Lock()

    def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """What the script returns. ``Unavailable`` where the server does not answer at once."""
        script = self._script or self._load()
        try:
            return script(keys=keys, args=args)
        except self._error as error:
            raise Unavailable(f"the store of limits does not answer ({type(error).__name__})") from error

    def _load(self) -> Callable[..., Any]:
        with self._loading:
            if self._script is None:
                redis = import_module("redis")
                again = import_module("redis.retry").Retry(import_module("redis.backoff").NoBackoff(), 1)
                client = redis.Redis.from_url(
                    self._url,
                    socket_timeout=_SECONDS,
                    socket_connect_timeout=_SECONDS,
                    retry=again,  # a connection that was closed while at rest
                )
                self._error = redis.RedisError
                self._script = client.register_script(self._text)
            return self._script
