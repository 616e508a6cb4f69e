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
from gateway.tasks.webhooks import WebhookDeliverer

_log = logging.getLogger(__name__)
_SWEEP_SECONDS = 2.0
#: At rest: how often it is swept all the same, for what only the sweeps themselves know of.
_REST_SECONDS = 10.0


class Orchestrator:
    """``run`` sweeps every ``interval`` seconds, at once again while there is work; what else is to be
    swept (``sweeps``: calls of dead processes) it does every two seconds. Where ``live`` says that nothing is on
    its way, both are done less often: a gateway at rest costs next to nothing."""

    def __init__(
        self,
        store: EngineStore,
        executor: Executor,
        sweeps: Sequence[Callable[[], object]],
        webhooks: WebhookDeliverer,
        clock: Clock,
        *,
        interval: float = 0.5,
        live: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._executor = executor
        self._sweeps = sweeps
        self._webhooks = webhooks
        self._clock = clock
        self._interval = interval
        self._live = live

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. A pass that fails is logged and followed by the next."""
        deliverer = threading.Thread(target=self._webhooks.run, args=(stop,), name="webhooks", daemon=True)
        deliverer.start()
        next_pass = next_sweep = 0.0
        while not stop.is_set():
            busy, live = False, True
            try:
                live = self._live()
                if live or time.monotonic() >= next_pass:
                    busy = self._sweep()
                    next_pass = time.monotonic() + _REST_SECONDS
                if time.monotonic() >= next_sweep:
                    for sweep_more in self._sweeps:
                        sweep_more()
                    next_sweep = time.monotonic() + (_SWEEP_SECONDS if live else _REST_SECONDS)
            except GatewayError as error:
                _log.warning("a sweep failed: %s", error.message)
            except Exception:  # noqa: BLE001 - told in the log; the loop or the caller goes on
                _log.exception("a sweep failed")
            stop.wait(0.05 if busy else self._interval if live else 2 * self._interval)
        deliverer.join(5)

    def _sweep(self) -> bool:
        """One pass. True: there may be more at once."""
        swept = sweep(self._store, self._executor, self._clock.now())
        if swept.recovered or swept.timed_out:
            _log.warning("swept: %s leases had run out, %s runs their time", swept.recovered, swept.timed_out)
        return swept.busy
