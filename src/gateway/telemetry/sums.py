"""What was counted a moment ago, in plain numbers: Prometheus' series are brought up to it now and then.

A series of Prometheus' has a lock for each of its numbers, and a file where several processes share them;
a request touches a dozen of them. Here it adds to a few numbers of this process instead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Histogram

from gateway.models.llm_models import Usage

#: The classes of tokens that are counted, in the order of ``CallSums.tokens``.
CLASSES = ("input", "output", "cached", "reasoning")


class TimedSums:
    """A count and a histogram of seconds. Whoever adds or folds holds the lock of ``Metrics``."""

    __slots__ = ("_bounds", "_buckets", "_count", "_counter", "_histogram", "_seconds")

    def __init__(self, counter: Counter, histogram: Histogram, bounds: Sequence[float]) -> None:
        self._counter = counter
        self._histogram = histogram
        self._bounds = bounds
        self._count = 0
        self._seconds = 0.0
        self._buckets = [0] * (len(bounds) + 1)

    def add(self, seconds: float) -> None:
        """One more."""
        self._count += 1
        self._seconds += seconds
        self._buckets[bisect_left(self._bounds, seconds)] += 1

    def fold(self) -> None:
        """Moves what was added into the series."""
        if not self._count:
            return
        self._counter.inc(self._count)
        # ``observe`` takes one value at a time; these are the numbers that it adds to.
        self._histogram._sum.inc(self._seconds)
        for series, count in zip(self._histogram._buckets, self._buckets, strict=True):
            if count:
                series.inc(count)
        self._count, self._seconds = 0, 0.0
        self._buckets = [0] * len(self._buckets)


class CallSums(TimedSums):
    """The same of model calls, with their tokens and their cost."""

    __slots__ = ("_cost", "_cost_counter", "_tokens", "_tokens_counter")

    def __init__(
        self,
        counter: Counter,
        histogram: Histogram,
        bounds: Sequence[float],
        cost: Counter,
        tokens: Callable[[str], Counter],
    ) -> None:
        super().__init__(counter, histogram, bounds)
        self._cost_counter = cost
        self._tokens_counter = tokens
        self._cost = 0.0
        self._tokens = [0, 0, 0, 0]

    def add_call(self, seconds: float, cost_usd: float, usage: Usage | None) -> None:
        """One more call."""
        self._count += 1
        self._seconds += seconds
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        self._cost += cost_usd
        if usage is not None:
            tokens = self._tokens
            # What a provider counts below zero is no count.
            if usage.input_tokens > 0:
                tokens[0] += usage.input_tokens
            if usage.output_tokens > 0:
                tokens[1] += usage.output_tokens
            if usage.cached_tokens > 0:
                tokens[2] += usage.cached_tokens
            if usage.reasoning_tokens > 0:
                tokens[3] += usage.reasoning_tokens

    def fold(self) -> None:
        super().fold()
        self._cost_counter.inc(self._cost)
        for name, count in zip(CLASSES, self._tokens, strict=True):
            if count:
                self._tokens_counter(name).inc(count)
        self._cost, self._tokens = 0.0, [0, 0, 0, 0]
