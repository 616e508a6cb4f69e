"""How a door is made: no route without a declared permission, one handling of errors, audit and metrics.

``Doors.add`` is the only way to register a route; it takes a permission, or ``PUBLIC`` said aloud.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.body import read_body, require_json
from gateway.api.described.document import Door
from gateway.api.described.door import Described
from gateway.api.described.table import described
from gateway.api.errors import body_of, headers_of, status_of
from gateway.api.services import Services
from gateway.errors import GatewayError, NotAuthenticated, NotFound, PermissionDenied
from gateway.governance.validators import decode_object
from gateway.ids import new_id
from gateway.security.access import PERMISSIONS, Caller
from gateway.telemetry import logs

_log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_REQUEST_ID = re.compile(r"^[A-Za-z0-9_.:-]{1,100}$")

PUBLIC: Literal["public"] = "public"


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request: who, what, and the services."""

    request: Request
    caller: Caller
    services: Services
    request_id: str
    described: Described | None = None

    async def body(self) -> dict[str, Any]:
        """The JSON object of the body."""
        require_json(self.request.scope)
        return decode_object(await read_body(self.request.scope, self.request.receive))

    def query(self, name: str) -> str | None:
        """A query parameter, as its declaration allows (``ValidationFailed``). One that the door does not declare is
        not there: nobody could know of it."""
        given = self.request.query_params.get(name)
        if given is None or self.described is None:
            return given
        return self.described.read(name, given)

    def path(self, name: str) -> str:
        """A path parameter."""
        return str(self.request.path_params[name])


Handler = Callable[[Call], Awaitable[Response]]
PublicHandler = Callable[[Request, Services], Awaitable[Response]]


class Doors:
    """Registers routes on a FastAPI app."""

    def __init__(self, app: FastAPI, services: Services) -> None:
        self._app = app
        self._services = services
        self.permissions: dict[tuple[str, str], str] = {}
        #: Those that are told of in the description of the interface.
        self.told: list[Door] = []

    def add(
        self,
        method: str,
        path: str,
        permission: str,
        handler: Handler,
        *,
        summary: str,
        status: int = 200,
    ) -> None:
        """A route that needs ``permission``; what it takes and gives stands in ``described``. Raises ``ValueError``
        for a permission that does not exist."""
        if permission not in PERMISSIONS:
            raise ValueError(f"{method} {path}: no such permission: {permission!r}")
        said = described(method, path)

        async def endpoint(request: Request) -> Response:
            return await self._serve(request, method, path, permission, handler, said)

        self._register(method, path, permission, endpoint, summary, status)

    def add_public(self, method: str, path: str, handler: PublicHandler, *, summary: str) -> None:
        """A route that anybody may call, and that says nothing private."""

        async def endpoint(request: Request) -> Response:
            return await handler(request, self._services)

        self._register(method, path, PUBLIC, endpoint, summary, 200)

    def _register(
        self,
        method: str,
        path: str,
        permission: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        summary: str,
        status: int,
    ) -> None:
        self.permissions[method, path] = permission
        said = described(method, path)
        if said is not None:
            self.told.append(Door(method, path, summary, permission, status, permission == PUBLIC, said))
        self._app.add_api_route(
            path,
            endpoint,
            methods=[method],
            summary=summary,
            status_code=status,
            response_class=Response,
            response_model=None,
            include_in_schema=False,
        )

    async def _serve(
        self,
        request: Request,
        method: str,
        route: str,
        permission: str,
        handler: Handler,
        said: Described | None,
    ) -> Response:
        services = self._services
        request_id = request_id_of(request.headers.get("x-request-id", ""))
        token = logs.request_id.set(request_id)
        started = time.perf_counter()
        status = 500
        try:
            try:
                caller = await authenticate(services, request.headers)
                await admit(services, caller, permission, method, request.url.path, request_id)
                if any("\0" in str(part) for part in request.path_params.values()):  # no database has such a text
                    raise NotFound("there is nothing of that name", mend="a name has no NUL")
                response = await handler(Call(request, caller, services, request_id, said))
            except GatewayError as error:
                response = error_response(error, request.scope["path"], request_id)
            except Exception:  # noqa: BLE001 - told in the log; the loop or the caller goes on
                _log.exception("%s %s failed", method, route)
                response = error_response(
                    GatewayError("something went wrong inside the gateway", mend="the log has it, by this request_id"),
                    request.scope["path"],
                    request_id,
                )
            response.headers["x-request-id"] = request_id
            response.headers.setdefault("x-gateway-config", services.catalogue.current.epoch)
            status = response.status_code
            return response
        finally:
            services.metrics.request(method, route, status, time.perf_counter() - started)
            logs.request_id.reset(token)


async def authenticate(services: Services, headers: Mapping[str, str]) -> Caller:
    """The caller, by headers with names in lower case; the fast way where its key was looked up a moment ago."""
    known = services.identity.cached(headers)
    return known if known is not None else await look_up(services, headers)


async def look_up(services: Services, headers: Mapping[str, str]) -> Caller:
    """Asks the database who it is, and, after it, which budgets there are: a new key comes with its own."""
    return await asyncio.to_thread(services.identity.authenticate, headers, services.calls.look)


async def admit(services: Services, caller: Caller, permission: str, method: str, path: str, request_id: str) -> None:
    """Checks the permission; a change, and a refusal, is on record before anything is done."""
    allowed = caller.may(permission)
    if allowed and method in ("GET", "HEAD"):
        return
    await asyncio.to_thread(
        services.audit.record,
        actor=caller.principal,
        action=permission,
        resource=f"{method} {path[:200]}",
        outcome="allowed" if allowed else "denied",
        request_id=request_id,
        detail={"key_id": caller.key_id, "config": services.catalogue.current.epoch},
    )
    caller.require(permission)


def request_id_of(given: str) -> str:
    """The caller's request id where it is a plain one, else a new one."""
    return given if given and _REQUEST_ID.match(given) else new_id("req")


def error_response(error: GatewayError, path: str, request_id: str) -> Response:
    """The error as the door of ``path`` speaks."""
    body, media_type = body_of(error, path, request_id)
    if error.status >= 500 and not isinstance(error, (NotAuthenticated, PermissionDenied)):
        _log.warning("answered %s %s: %s", error.status, error.code, error.message)
    headers = {**headers_of(error, path), "x-request-id": request_id}
    return Response(body, status_of(error, path), headers, media_type)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; ``Decimal``s become exact numbers."""
    return Response(_ENCODER.encode(value), status, dict(headers or {}), "application/json")
