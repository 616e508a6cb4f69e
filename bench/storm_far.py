"""What is far away in the storm: a provider that counts what it is asked, and a receiver of webhooks.

Both live in the storm's own process, which nobody kills: what they have seen is the truth that the
ledger and the events are held against.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from typing import Any

from aiohttp import web

#: Who is told by webhook: the address that each run names, and a subscription to all events.
READERS = ("own", "subscribed")


class Far:
    """``calls`` counts prompts that were answered or begun, ``answered`` those that were; ``deliveries`` the ids of
    webhooks by who took them, and ``told`` the event and the run of each."""

    def __init__(self, seed: int, *, thinking: tuple[float, float] = (0.02, 0.4), refused: float = 0.1) -> None:
        """``thinking``: seconds that an answer takes, long enough to be killed in. ``refused``: the share of messages
        that the receiver refuses once."""
        self.calls: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.deliveries: dict[str, Counter[str]] = {name: Counter() for name in READERS}
        self.told: dict[str, tuple[str, str]] = {}
        self._refused: set[str] = set()
        self.url = ""
        self._random = random.Random(seed)
        self._thinking, self._share = thinking, refused
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="far")

    def start(self) -> None:
        """Returns once both listen."""
        self._thread.start()
        if not self._ready.wait(20):
            raise RuntimeError("provider and receiver did not start")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/hook/{reader}", self._hook)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()

    async def _chat(self, request: web.Request) -> web.Response:
        """Answers with the prompt and one mark more, so that each prompt says where in its run it stands."""
        asked = await request.json()
        prompt = str(asked["messages"][-1]["content"])
        self.calls[prompt] += 1
        await asyncio.sleep(self._random.uniform(*self._thinking))
        self.answered[prompt] += 1
        message = {"role": "assistant", "content": f"{prompt}+"}
        body: dict[str, Any] = {
            "id": "chatcmpl-storm",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        return web.json_response(body)

    async def _hook(self, request: web.Request) -> web.Response:
        """Refuses some messages, once: each is to come again under the same id."""
        name = request.headers.get("webhook-id", "")
        body = json.loads(await request.read())
        if name not in self._refused and self._random.random() < self._share:
            self._refused.add(name)
            return web.Response(status=503)
        self.deliveries[request.match_info["reader"]][name] += 1
        self.told[name] = (str(body.get("event")), str(body.get("run_id")))
        return web.Response(status=204)
