"""The orchestrator: sweeps what a crash left undone, ends stale holds, delivers webhooks.

Any number may run at once: work is claimed by row, so none of it is done twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from gateway.clock import Clock
from gateway.engine.ports import EngineStore, Executor
from gateway.engine.recovery import sweep
from gateway.errors import GatewayError
from gateway.ledger.cost_tracker import Ledger
from gateway.tasks.webhooks import WebhookDeliverer

_log = logging.getLogger(__name__)
_LEDGER_SECONDS = 30.0


class Orchestrator:
    """``run`` sweeps every ``interval`` seconds, at once again while there is work; ``housekeeping`` is
    done as seldom as the ledger's sweep."""

    def __init__(
        self,
        store: EngineStore,
        executor: Executor,
        ledger: Ledger,
        webhooks: WebhookDeliverer,
        clock: Clock,
        *,
        interval: float = 0.5,
        housekeeping: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._store = store
        self._executor = executor
        self._ledger = ledger
        self._webhooks = webhooks
        self._clock = clock
        self._interval = interval
        self._housekeeping = housekeeping

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. A pass that fails is logged and followed by the next."""
        deliverer = threading.Thread(target=self._webhooks.run, args=(stop,), name="webhooks", daemon=True)
        deliverer.start()
        next_ledger = 0.0
        while not stop.is_set():
            try:
                swept = sweep(self._store, self._executor, self._clock.now())
                if swept.recovered or swept.timed_out:
                    _log.warning("swept: %s leases had run out, %s runs their time", swept.recovered, swept.timed_out)
                if time.monotonic() >= next_ledger:
                    self._ledger.sweep()
                    for chore in self._housekeeping:
                        chore()
                    next_ledger = time.monotonic() + _LEDGER_SECONDS
                busy = swept.busy
            except GatewayError as error:
                _log.warning("a sweep failed: %s", error.message)
                busy = False
            except Exception:  # noqa: BLE001 - told in the log; the loop or the caller goes on
                _log.exception("a sweep failed")
                busy = False
            stop.wait(0.05 if busy else self._interval)
        deliverer.join(5)
