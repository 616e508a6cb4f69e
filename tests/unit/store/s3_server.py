"""The part of S3's wire that an artifact store needs, on a loopback address: objects put, read, measured, removed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_NOTHING = b'<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>'
_LISTED = (
    "<Contents><Key>{}</Key><LastModified>2026-03-04T12:00:00.000Z</LastModified><Size>1</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)
_NO_KEY = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>'


class S3:
    """Its objects by ``/bucket/key``, and its address. ``refuse``: every put is answered 403."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.address = ""
        self.refuse = False


@contextmanager
def s3_server() -> Iterator[S3]:
    """The server while it lives."""
    s3 = S3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if s3.refuse:
                self._say(403, _NO_KEY.replace(b"NoSuchKey", b"AccessDenied"))
                return
            s3.objects[urlsplit(self.path).path] = content
            self._say(200)

        def do_GET(self) -> None:
            if "list-type" in self.path:
                self._say(200, self._listing())
                return
            found = s3.objects.get(urlsplit(self.path).path)
            self._say(404, _NO_KEY) if found is None else self._say(200, found)

        def _listing(self) -> bytes:
            asked = urlsplit(self.path)
            bucket, prefix = asked.path.rstrip("/"), parse_qs(asked.query).get("prefix", [""])[0]
            keys = [path.removeprefix(f"{bucket}/") for path in sorted(s3.objects) if path.startswith(f"{bucket}/")]
            told = "".join(_LISTED.format(key) for key in keys if key.startswith(prefix))
            return _NOTHING.replace(b"</ListBucketResult>", told.encode() + b"</ListBucketResult>")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            s3.objects.pop(urlsplit(self.path).path, None)
            self._say(204)

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

        def _say(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.send_header("etag", '"0"')
            self.send_header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    s3.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield s3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
