"""Where a server's signaling is, from whatever address of it somebody knows."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager

import pytest

from gateway.drive_target import WrongTarget, signaling_url
from tests.support.ports import free_port


@contextmanager
def pages(body: bytes, status: int = 200):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/config.json" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_address_of_signaling_is_taken_as_it_is():
    assert signaling_url("wss://example.test:3001/x") == "wss://example.test:3001/x"


def test_the_pages_lead_to_it():
    with pages(b'{"signalingUrl": null, "signalingPort": 3001}') as url:
        assert signaling_url(url) == "ws://127.0.0.1:3001/"
        assert signaling_url(f"{url}/replay/room") == "ws://127.0.0.1:3001/"
    with pages(b'{"signalingUrl": "wss://sig.example.test/", "signalingPort": 3001}') as url:
        assert signaling_url(url) == "wss://sig.example.test/"


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 200), (b"hello", 200), (b"[]", 200), (b"", 404), (b"", 500)]
)
def test_another_server_is_named(body, status):
    with pages(body, status) as url, pytest.raises(WrongTarget, match="is no Reprise server"):
        signaling_url(url)


@pytest.mark.parametrize(
    "address", ["", "localhost:3000", "ftp://host", "http://", "http://[::1", "http://h:99999999"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(WrongTarget, match="is no address") as caught:
        signaling_url(address)
    assert "\n" not in str(caught.value)


def test_nobody_there_is_said_so():
    with pytest.raises(WrongTarget, match="no server at"):
        signaling_url(f"http://127.0.0.1:{free_port()}")
