"""Who ends things in a storm: one process after another with -9, broker and database now and then."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter

from storm_town import Town, signal_to

#: Seconds; a lease lasts 15.
_STANDING_STILL = 20.0
#: How often each is struck, of a hundred times. Of the children it is one at random: API, worker or orchestrator.
USUALLY = {"database": 5, "broker": 7, "gateway": 4, "still": 4, "child": 80}


class Killer:
    """Ends something every ``pause`` seconds until told to stop; ``ended`` counts what."""

    def __init__(self, town: Town, seed: int, pause: float, chances: dict[str, int]) -> None:
        self._town = town
        self._random = random.Random(seed)
        self._pause = pause
        self._chances = chances
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="killer")
        self._waking: list[threading.Timer] = []
        self.ended: Counter[str] = Counter()
        self.trouble = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is struck any more and whoever stood still goes on."""
        self._ending.set()
        self._thread.join(120)
        for waking in self._waking:
            waking.join()

    def _run(self) -> None:
        while not self._ending.wait(self._pause):
            try:
                self._strike()
            except Exception as error:  # noqa: BLE001 - told at the end; the storm goes on
                self.trouble = f"{type(error).__name__}: {error}"

    def _strike(self) -> None:
        for site in self._town.sites:
            if site.ended:  # its API was killed before it had answered once; whoever runs it would start it again
                site.start()
        site = self._random.choice(self._town.sites)
        (what,) = self._random.choices(list(self._chances), list(self._chances.values()))
        if what == "database":
            self._town.postgres.restart()
            self.ended["postgres"] += 1
        elif what == "broker":
            self._town.valkey.restart()
            self.ended["valkey"] += 1
        elif what == "gateway":
            site.kill()
            site.start()
            self.ended["whole gateway"] += 1
        elif what == "still":
            self._pause_worker(site.children().get("worker"))
        else:
            children = site.children()
            if children:
                role = self._random.choice(sorted(children))
                signal_to(children[role], signal.SIGKILL)
                self.ended[role] += 1

    def _pause_worker(self, worker: int | None) -> None:
        """It stands still for longer than a lease, and goes on as if nothing had been."""
        if worker is None:
            return
        signal_to(worker, signal.SIGSTOP)
        waking = threading.Timer(_STANDING_STILL, signal_to, (worker, signal.SIGCONT))
        waking.start()
        self._waking.append(waking)
        self.ended["worker stood still"] += 1
