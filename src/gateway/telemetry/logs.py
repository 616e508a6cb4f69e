"""Structured logs: one line an event, with the request it belongs to, without secrets or personal data."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from typing import TextIO

from gateway.clock import SystemClock, rfc3339
from gateway.governance.redaction import redact
from gateway.security.scrub import scrub_text

#: The request that the current task serves; set by the doors.
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("gateway_request_id", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", "request_id", …}`` with the fields given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": rfc3339(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[name] = _clean(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = _clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        request = f" [{request_id.get()}]" if request_id.get() else ""
        time = rfc3339(int(record.created * 1_000_000))[11:23]
        line = f"{time} {record.levelname.lower():<7} {record.name}{request}: {_clean(record.getMessage())}"
        if record.exc_info:
            line += "\n" + _clean(self.formatException(record.exc_info))
        return line


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends every logger of this process to one stream (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("alembic", "celery", "kombu", "amqp", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def start_line(name: str) -> None:
    """Says that a process is up."""
    logging.getLogger("gateway").info("%s started at %s", name, rfc3339(SystemClock().now()))


def _clean(text: str) -> str:
    return redact(scrub_text(text))
