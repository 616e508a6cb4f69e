"""The ASGI application: the hot doors first (``dataplane``), then every other route, then a 404 that says so."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Protocol

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

import gateway
from gateway.api.dataplane import DataPlane
from gateway.api.described.document import document, hot_doors
from gateway.api.doors import Doors, PublicHandler, error_response, request_id_of
from gateway.api.event_feed import EventFeed
from gateway.api.http import (
    audit,
    batches,
    estimates,
    execute,
    feedback,
    files,
    inference,
    invoices,
    keys,
    limits,
    models,
    moderations,
    money,
    prices,
    prompt_labels,
    prompts,
    prune,
    responses,
    run_acts,
    run_records,
    savings,
    schedules,
    system,
    tasks,
    tokens,
    usage,
    webhooks,
    workflows,
)
from gateway.api.lean import LEAN
from gateway.api.services import Services
from gateway.api.websocket import EventSocket
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import BadRequest, GatewayError, MethodNotAllowed, NotFound
from gateway.serving.learner import EXCHANGE_TURNS

_log = logging.getLogger(__name__)
_ROOMS = (
    *(
        system,
        tasks,
        workflows,
        estimates,
        run_acts,
        run_records,
        prune,
        schedules,
        execute,
        inference,
        tokens,
        feedback,
        models,
        limits,
        money,
        prices,
        usage,
        savings,
        invoices,
        keys,
        prompts,
        prompt_labels,
        audit,
        webhooks,
    ),
    *(responses, files, batches, moderations),
)
#: Threads for what blocks: the database, the file system, predictions.
_THREADS = 32


class Page(Protocol):
    """A file at a path; see ``dashboard.pages``."""

    @property
    def path(self) -> str: ...

    @property
    def content(self) -> bytes: ...

    @property
    def media_type(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


def make_app(services: Services, pages: Sequence[Page] = ()) -> ASGIApp:
    """The whole application over these services; ``pages`` are files that anybody may read."""
    feed = EventFeed(services.desk, services.events.stamp)
    socket = EventSocket(services, feed)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="work")
        asyncio.get_running_loop().set_default_executor(pool)
        watcher = asyncio.create_task(_watch_configuration(services))
        yield
        watcher.cancel()
        await services.close()

    app = FastAPI(
        title="Gnanam AI Gateway",
        version=gateway.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    app.state.feed = feed
    doors = Doors(app, services)
    for room in _ROOMS:
        room.add(doors)
    for page in pages:
        doors.add_public("GET", page.path, _page(page), summary=page.summary)
    app.state.permissions = doors.permissions
    plane = DataPlane(services)
    app.add_api_route("/openapi.json", _openapi(doors, plane, services.desk.task_types), response_model=None)

    @app.websocket("/ws")
    async def ws(connection: WebSocket) -> None:
        await socket.serve(connection)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        response = error_response(
            _refusal(error), request.scope["path"], request_id_of(request.headers.get("x-request-id", ""))
        )
        if error.status_code == 405:
            response.headers["allow"] = ", ".join(sorted(_methods_of(app, request.scope)))
        return response

    return _Root(plane, app)


class _Root:
    """Hands the hot doors to the data plane and everything else to the application."""

    def __init__(self, plane: DataPlane, app: FastAPI) -> None:
        self._plane = plane
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            if scope["method"] == "HEAD":
                return self._head(scope, receive, send)
            if self._plane.serves(scope["path"]):
                return self._plane(scope, receive, send)
        return self.app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As GET, up to the body."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})

        await self({name: value for name, value in scope.items() if name != LEAN} | {"method": "GET"}, receive, told)


def _page(page: Page) -> PublicHandler:
    async def show(_request: Request, _services: Services) -> Response:
        return Response(page.content, 200, dict(page.headers), page.media_type)

    return show


def _openapi(doors: Doors, plane: DataPlane, task_types: Mapping[str, TaskTypeSpec]) -> Callable[[], Response]:
    """The description of the interface; made when it is first asked for."""

    @cache
    def made() -> bytes:
        return msgspec.json.encode(document([*doors.told, *hot_doors(plane.doors)], task_types))

    def show() -> Response:
        return Response(made(), 200, media_type="application/json")

    return show


def _methods_of(app: FastAPI, scope: Scope) -> set[str]:
    """What the path of a request may be asked by."""
    routes = [route for route in app.routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    return {method for route in routes for method in route.methods or ()}


def _refusal(error: HTTPException) -> GatewayError:
    if error.status_code == 404:
        return NotFound("there is nothing at this path", mend="GET / lists the doors")
    if error.status_code == 405:
        return MethodNotAllowed(mend="GET /openapi.json says which methods each path takes")
    return BadRequest("the request could not be read", mend="see GET /openapi.json")


async def _watch_configuration(services: Services) -> None:
    """Takes edits of the configuration files, a bad one keeps the last good configuration; and what other
    processes learned of deployments."""
    adopted = services.catalogue.current.epoch
    for turn in itertools.count(1):
        await asyncio.sleep(2.0)
        try:
            await asyncio.to_thread(services.catalogue.refresh)
            current = services.catalogue.current
            if current.epoch != adopted:
                await asyncio.to_thread(services.desk.adopt, current.workflows)
                adopted = current.epoch
            await asyncio.to_thread(services.learner.exchange, at_rest=turn % EXCHANGE_TURNS != 0)
        except Exception:  # noqa: BLE001 - told in the log; without this loop no edit would be taken any more
            _log.exception("the configuration could not be looked at; it will be again")
