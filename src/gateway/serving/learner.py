"""Brings what this process saw of its deployments to the others, and what they saw to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.routing.health import Health
from gateway.routing.learning import HOUR, OUTCOMES_KEPT, RATINGS_KEPT, Outcomes, OutcomeStore, Standing, standings

_log = logging.getLogger(__name__)
#: Every how many turns a process at rest hears what the others learned.
EXCHANGE_TURNS = 5


class Learner:
    """``exchange`` is called every few seconds by whoever watches the configuration, from a thread of its
    own; calls read ``standings``, which is whatever the last exchange found."""

    def __init__(self, store: OutcomeStore, health: Health, clock: Clock) -> None:
        self._store = store
        self._health = health
        self._clock = clock
        self._standings: Mapping[str, Standing] = MappingProxyType(dict[str, Standing]())
        self._unsaid: dict[str, Outcomes] = {}

    def standings(self) -> Mapping[str, Standing]:
        """What is known of each deployment; of one that is not there, nothing."""
        return self._standings

    def exchange(self, *, at_rest: bool = False) -> None:
        """Adds this process's outcomes to the shared ones and reads all. Where the database does not
        answer, what is known stays, and the outcomes wait for the next time. ``at_rest``: only where there
        is something to add; who calls nobody need not hear of the others at every turn."""
        for name, seen in self._health.taken().items():
            self._unsaid[name] = seen.plus(self._unsaid.get(name, Outcomes()))
        if at_rest and not self._unsaid:
            return
        now = self._clock.now()
        try:
            if self._unsaid:
                self._store.add_outcomes(now - now % HOUR, self._unsaid)
                self._unsaid = {}
            outcomes = self._store.outcomes(now - OUTCOMES_KEPT)
            ratings = self._store.ratings(now - RATINGS_KEPT)
        except GatewayError as error:
            _log.warning("what was learned of deployments is not shared now: %s", error.message)
            return
        self._standings = standings(outcomes, ratings, now)
