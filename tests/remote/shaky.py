"""An S3 server (moto's) on loopback, and a proxy before it that breaks connections and fails requests on purpose."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HURTS = ("no answer", "half an answer", "done, but no answer", "slow down", "internal error")
_SLOW = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>"
_DENIED = b"<?xml version='1.0'?><Error><Code>InvalidAccessKeyId</Code><Message>No such key.</Message></Error>"


class Proxy(ThreadingHTTPServer):
    """Passes requests on; every so many `every`th one is hurt, in turn by each of HURTS; `denied`: all are refused."""

    daemon_threads = True

    def __init__(self, behind: int, every: int = 0) -> None:
        self.behind, self.every, self.denied = behind, every, False
        self.count, self.hurts, self.asked = itertools.count(1), 0, []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Say nothing of clients that are gone."""

    def hurt(self) -> str:
        with self.lock:
            if not self.every or next(self.count) % self.every:
                return ""
            self.hurts += 1
            return HURTS[self.hurts % len(HURTS)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def pass_on(self):
        proxy: Proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy.asked.append((self.command, self.path))
        hurt = proxy.hurt()
        if proxy.denied:
            return self.answer(403, _DENIED)
        if hurt == "no answer":
            return self.hang_up()
        if hurt == "slow down":
            return self.answer(503, _SLOW)
        if hurt == "internal error":
            return self.answer(500, _BROKEN)
        behind = http.client.HTTPConnection("127.0.0.1", proxy.behind)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        behind.request(self.command, self.path, body, headers)
        reply = behind.getresponse()
        data = reply.read()
        if hurt == "done, but no answer":
            return self.hang_up()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if hurt:
            self.wfile.write(data[: len(data) // 2])
            return self.hang_up()
        self.wfile.write(data)
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True


@contextlib.contextmanager
def serving(proxy: Proxy) -> Iterator[Proxy]:
    """Run a proxy in a thread."""
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
