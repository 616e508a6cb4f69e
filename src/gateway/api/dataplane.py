"""The hot doors, bare ASGI: everything under ``/v1``, in OpenAI's and Anthropic's dialects.

No framework between the socket and the story: a body is decoded once, and what comes back goes out by its
``Exchange``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from gateway.api.doors import admit, look_up
from gateway.api.event_lines import (
    anthropic_failure,
    anthropic_line,
    openai_failure,
    openai_line,
    responses_failure,
)
from gateway.api.exchange import Exchange
from gateway.api.once import CAUSE
from gateway.api.once_door import COSTLY, OnceDoor
from gateway.api.services import Services
from gateway.api.wire import anthropic, completions, embeddings, openai, prompted
from gateway.api.wire.answer_head import AnswerHeads
from gateway.api.wire.model_rows import MODELS, models_told
from gateway.api.wire.openai_plain import read_plain
from gateway.errors import GatewayError, MethodNotAllowed
from gateway.ids import new_id
from gateway.telemetry import logs

_log = logging.getLogger(__name__)


class DataPlane:
    """The doors and their methods."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._once = OnceDoor(services, self)
        self._heads = AnswerHeads()
        #: By path: method, permission, and who answers.
        self.doors: dict[str, tuple[str, str, Callable[[Exchange], Awaitable[None]]]] = {
            "/v1/chat/completions": ("POST", "llm:execute", self._chat_completions),
            "/v1/completions": ("POST", "llm:execute", self._completions),
            "/v1/responses": ("POST", "llm:execute", self._responses),
            "/v1/messages": ("POST", "llm:execute", self._messages),
            "/v1/embeddings": ("POST", "llm:execute", self._embeddings),
            "/v1/messages/count_tokens": ("POST", "llm:execute", self._count_tokens),
            MODELS: ("GET", "models:read", self._models),
        }

    def serves(self, path: str) -> bool:
        """Whether the path is one of the hot doors."""
        return path in self.doors or path.startswith(f"{MODELS}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        exchange = Exchange(self._services, self._heads, scope, receive, send)
        once = "idempotency-key" in exchange.headers and path in COSTLY and scope["method"] == "POST"
        if once and CAUSE not in scope:
            await self._once.serve(scope, receive, send, exchange.headers, exchange.request_id)
            return
        token = logs.request_id.set(exchange.request_id)
        started = time.perf_counter()
        route = path if path in self.doors else "/v1/models/{name}"
        try:
            method, permission, handler = self.doors.get(path) or ("GET", "models:read", self._models)
            if scope["method"] != method:
                raise MethodNotAllowed(mend=f"use {method}", allowed=[method])
            known = self._services.identity.cached(exchange.headers)
            exchange.caller = known if known is not None else await look_up(self._services, exchange.headers)
            if permission not in exchange.caller.permissions:
                await admit(self._services, exchange.caller, permission, method, path, exchange.request_id)
            await handler(exchange)
        except GatewayError as error:
            await exchange.refuse(error)
        except asyncio.CancelledError:
            if not exchange.left:
                raise
        except Exception:  # noqa: BLE001 - told in the log; the loop or the caller goes on
            _log.exception("%s failed", path)
            await exchange.refuse(
                GatewayError("something went wrong inside the gateway", mend="the log has it, by this request id")
            )
        finally:
            self._services.metrics.request(scope["method"], route, exchange.status, time.perf_counter() - started)
            logs.request_id.reset(token)

    async def _chat_completions(self, exchange: Exchange) -> None:
        content = exchange.arrived()
        if content is None:
            content = await exchange.content()
        request = read_plain(content, exchange.headers)
        if request is None:
            said = await exchange.said(content, prompted.for_chat)
            request = openai.decode(said, exchange.headers, relay=True)
            request = request if exchange.prompt is None else prompted.completed(request, exchange.prompt)
        if not request.stream:
            answer = await self._services.chat.complete(exchange.caller, request.chat, exchange.context("openai"))
            body = openai.encode_relayed(answer.reply, request.chat.model)
            await exchange.answer(body, answer.meta)
            return
        name = new_id("chatcmpl")
        opening = self._services.chat.stream(exchange.caller, request.chat, exchange.context("openai"))
        stream = await exchange.opened(opening, request.chat.model, openai_failure)
        created = stream.meta.created
        pieces = openai.ChunkEncoder(request.chat.model, name, include_usage=request.include_usage, created=created)
        await exchange.stream(stream, pieces, openai_line, b"data: [DONE]\n\n", openai_failure)

    async def _completions(self, exchange: Exchange) -> None:
        request = completions.decode(await exchange.body())
        if not request.stream:
            answer = await self._services.chat.complete(exchange.caller, request.chat, exchange.context("openai"))
            await exchange.answer(completions.encode_reply(answer.reply, request.chat.model), answer.meta)
            return
        opening = self._services.chat.stream(exchange.caller, request.chat, exchange.context("openai"))
        stream = await exchange.opened(opening, request.chat.model, openai_failure)
        created = stream.meta.created
        pieces = completions.ChunkEncoder(request.chat.model, include_usage=request.include_usage, created=created)
        await exchange.stream(stream, pieces, openai_line, b"data: [DONE]\n\n", openai_failure)

    async def _responses(self, exchange: Exchange) -> None:
        service, caller = self._services.respond, exchange.caller
        asked = await service.asked(caller, await exchange.body(prompted.for_responses), exchange.headers)
        if exchange.prompt is not None:
            asked.request = prompted.responded(asked.request, exchange.prompt)
        context = exchange.context("openai")
        if not asked.request.stream:
            told, meta = await service.complete(caller, asked, context)
            await exchange.answer(told, meta)
            return
        opening = service.stream(caller, asked, context)
        stream = await exchange.opened(opening, asked.request.chat.model, responses_failure)

        def failure(error: GatewayError, _request_id: str) -> bytes:
            return anthropic_line(stream.failed(error.message, error.code))

        await exchange.stream(stream, stream, anthropic_line, b"", failure)

    async def _messages(self, exchange: Exchange) -> None:
        request = anthropic.decode(await exchange.body(prompted.for_messages), exchange.headers)
        request = request if exchange.prompt is None else prompted.completed(request, exchange.prompt)
        name = new_id("msg")
        if not request.stream:
            answer = await self._services.chat.complete(exchange.caller, request.chat, exchange.context("anthropic"))
            body = anthropic.encode_reply(answer.reply, request.chat.model, name)
            await exchange.answer(body, answer.meta)
            return
        opening = self._services.chat.stream(exchange.caller, request.chat, exchange.context("anthropic"))
        stream = await exchange.opened(opening, request.chat.model, anthropic_failure)
        await exchange.stream(
            stream, anthropic.EventEncoder(request.chat.model, name), anthropic_line, b"", anthropic_failure
        )

    async def _embeddings(self, exchange: Exchange) -> None:
        request = embeddings.decode(await exchange.body())
        answer = await self._services.embed.embed(exchange.caller, request, exchange.context("openai"))
        body = embeddings.encode(answer.embeddings, request.encoding, request.model)
        await exchange.answer(body, answer.meta)

    async def _count_tokens(self, exchange: Exchange) -> None:
        body = {"max_tokens": 1, **await exchange.body(prompted.for_messages)}
        count = await self._services.chat.count_tokens(exchange.caller, anthropic.decode(body, exchange.headers).chat)
        await exchange.json({"input_tokens": count.tokens}, {"x-gateway-count": count.basis})

    async def _models(self, exchange: Exchange) -> None:
        query = exchange.query if exchange.anthropic else None
        await exchange.json(models_told(self._services.catalogue.current, exchange.caller, exchange.path, query), {})
