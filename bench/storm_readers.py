"""Readers of events in the storm: each hears everything over a WebSocket, and comes back where it left off."""

from __future__ import annotations

import itertools
import json
import threading
import time

from storm_town import KEY, Site
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


class Reader:
    """``ids`` in the order they came. It goes to the next gateway whenever a line breaks."""

    def __init__(self, sites: list[Site]) -> None:
        self._sites = itertools.cycle(sites)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="reader")
        self.ids: list[int] = []
        self.lines_broken = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(30)

    def heard(self, last: int) -> bool:
        """Whether it has come as far as this event."""
        return bool(self.ids) and self.ids[-1] >= last

    def note(self, number: int) -> None:
        """One more event has come."""
        self.ids.append(number)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen(next(self._sites))
            except (OSError, WebSocketException, EOFError):
                self.lines_broken += 1
                time.sleep(0.2)

    def _listen(self, site: Site) -> None:
        last = self.ids[-1] if self.ids else 0  # said in the address, so that nothing is heard before it counts
        url = site.url.replace("http://", "ws://") + f"/ws?last_event_id={last}"
        headers = {"authorization": f"Bearer {KEY}"}
        with connect(url, additional_headers=headers, open_timeout=5, ping_interval=None) as line:
            while not self._ending.is_set():
                try:
                    told = json.loads(line.recv(timeout=1.0))
                except TimeoutError:
                    continue
                if isinstance(told.get("id"), int):
                    self.note(told["id"])
