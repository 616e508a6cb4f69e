"""What else an attempt may come to than an end.

How a handler waits for hours without holding its worker: it says until when, and is called again then."""

from __future__ import annotations

from typing import Any


class StepWaits(Exception):
    """Raised by a handler that has nothing to do before ``seconds`` from now: what it waits for is kept by
    whoever does it. It is then called anew, as the same attempt; its worker does other work meanwhile."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing to do for {seconds:g} s")
        self.seconds = seconds


class StepAsks(Exception):
    """Raised before a handler is called that must not go on without a person's word; ``error`` says why, and is
    the step's until then."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message")))
        self.error = error
