"""Delivers the webhook outbox: at least once, the same id on every try, signed, to checked addresses only."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.clock import SECOND, Clock
from gateway.errors import GatewayError
from gateway.events.outbox import (
    LEASE_SECONDS,
    Delivery,
    Receipt,
    Subscription,
    asked_pause,
    headers,
    next_try,
    secret_of,
)

_log = logging.getLogger(__name__)
_BATCH = 20
_GONE = 410
#: After so many passes without a message they come half as often.
_QUIET_PASSES = 60

#: Sends a body to a URL; what was answered. ``EgressDenied`` or ``UpstreamError`` otherwise.
Send = Callable[[str, bytes, Mapping[str, str]], Awaitable[Receipt]]
#: Told of each subscription that was disabled because its receiver is gone; blocks.
Told = Callable[[Subscription], None]


class Outbox(Protocol):
    """The deliveries; see ``store.webhook_store``."""

    def any_due(self, now: int) -> bool: ...

    def claim_due(self, now: int, lease_until: int, limit: int) -> list[Delivery]: ...

    def delivered(self, delivery_id: str, now: int) -> None: ...

    def retry(self, delivery_id: str, not_before: int, error: str) -> None: ...

    def bury(self, delivery_id: str, now: int, error: str) -> None: ...

    def subscription(self, subscription_id: str) -> Subscription | None: ...

    def disable(self, subscription_id: str, now: int, reason: str) -> Subscription | None: ...


class WebhookDeliverer:
    """``run`` delivers until told to stop. A subscription signs with its own secrets, ``own_url`` (the
    operator's) with ``secret``, the addresses that owners name in tasks and runs with one made of both."""

    def __init__(
        self,
        outbox: Outbox,
        send: Send,
        clock: Clock,
        *,
        secret: str,
        own_url: str = "",
        interval: float = 0.5,
        disabled: Told = lambda _subscription: None,
    ) -> None:
        self._outbox = outbox
        self._send = send
        self._clock = clock
        self._secret = secret
        self._own_url = own_url
        self._interval = interval
        self._disabled = disabled

    def run(self, stop: threading.Event) -> None:
        """One pass after another; no event loop is made while nothing is due."""
        quiet = 0
        while not stop.is_set():
            try:
                due = self._outbox.any_due(self._clock.now())
                sent = asyncio.run(self.deliver_due()) if due else 0
            except GatewayError as error:
                _log.warning("webhooks wait: %s", error.message)
                sent = 0
            except Exception:  # noqa: BLE001 - told in the log; the loop or the caller goes on
                _log.exception("a webhook pass failed")
                sent = 0
            quiet = 0 if sent else quiet + 1
            stop.wait(0.05 if sent else self._interval if quiet < _QUIET_PASSES else 2 * self._interval)

    async def deliver_due(self) -> int:
        """Sends what is due now; how many tries were made."""
        now = self._clock.now()
        claimed = await asyncio.to_thread(self._outbox.claim_due, now, now + LEASE_SECONDS * SECOND, _BATCH)
        await asyncio.gather(*(self._deliver(delivery) for delivery in claimed))
        return len(claimed)

    async def _deliver(self, delivery: Delivery) -> None:
        secrets = await asyncio.to_thread(self._signers, delivery)
        if isinstance(secrets, str):
            await self._bury(delivery, secrets)
            return
        body = delivery.body.encode()
        signed = headers(secrets, delivery.delivery_id, self._clock.now() // SECOND, body)
        try:
            receipt = await self._send(delivery.url, body, signed)
            problem = "" if 200 <= receipt.status < 300 else f"the receiver answered {receipt.status}"
        except GatewayError as error:
            receipt, problem = Receipt(0), error.message
        now = self._clock.now()
        if not problem:
            await asyncio.to_thread(self._outbox.delivered, delivery.delivery_id, now)
            return
        if receipt.status == _GONE and delivery.subscription_id is not None:
            await asyncio.to_thread(self._disable, delivery.subscription_id, now, problem)
        pause = None if receipt.status == _GONE else next_try(delivery.attempts, asked_pause(receipt, now))
        if pause is None:
            await self._bury(delivery, problem)
        else:
            await asyncio.to_thread(self._outbox.retry, delivery.delivery_id, now + int(pause * SECOND), problem)

    async def _bury(self, delivery: Delivery, problem: str) -> None:
        await asyncio.to_thread(self._outbox.bury, delivery.delivery_id, self._clock.now(), problem)
        _log.warning("webhook %s is dead: %s", delivery.delivery_id, problem)

    def _disable(self, subscription_id: str, now: int, problem: str) -> None:
        found = self._outbox.disable(subscription_id, now, problem)
        if found is not None:
            _log.warning("subscription %s to %s is disabled: %s", subscription_id, found.url, problem)
            self._disabled(found)

    def _signers(self, delivery: Delivery) -> tuple[str, ...] | str:
        """The secrets that sign this message, or why it is not to be sent: nobody listens any more."""
        if delivery.subscription_id is None:
            own = not self._secret or delivery.url == self._own_url
            return (self._secret if own else secret_of(delivery.owner, self._secret),)
        found = self._outbox.subscription(delivery.subscription_id)
        if found is None or not found.active:
            return "the subscription was ended"
        if found.disabled_at is not None:
            return f"the subscription was disabled: {found.disabled_reason}"
        return found.signers(self._clock.now())
