"""Images by URL: from listed hosts alone, and never from a private network."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from clip_core.tasks.serving import ServerSettings, remote
from clip_core.tasks.serving.settings import RequestError

CONTENT = bytes(range(256)) * 20


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:7f00:1::", "ff02::1",
        "fec0::1", "::7f00:1", "::ffff:0:7f00:1", "5f00::1", "3fff::1",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_public(address):
    assert not remote.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_an_address_of_the_internet_is_public(address):
    assert remote.is_public(address)


@pytest.fixture
def host():
    """A web server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status = 302 if self.path == "/elsewhere" else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/image?size=1")
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(url, **settings):
    with pytest.raises(RequestError) as error:
        remote.read_url(url, "input", ServerSettings(image_hosts=("localhost",), **settings))
    assert (error.value.status, error.value.param) == (400, "input")
    return error.value.code


def test_a_listed_host_is_refused_while_it_is_on_this_machine(host):
    assert refusal(f"http://{host}/image") == "host_not_allowed"


def test_a_host_with_one_private_address_among_public_ones_is_refused(host, monkeypatch):
    def resolved(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    assert refusal(f"http://{host}/image") == "host_not_allowed"


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "http://localhost.example.org/", "http://localhost@example.org/", "http:///a"]
)
def test_a_host_that_is_not_listed_is_refused(url):
    assert refusal(url) == "host_not_allowed"


def test_a_public_host_gives_the_file(host, monkeypatch):
    monkeypatch.setattr(remote, "is_public", lambda address: True)
    settings = ServerSettings(image_hosts=("LOCALHOST",))
    assert remote.read_url(f"http://{host}/image?size=1#part", "input", settings) == CONTENT


def test_redirects_large_files_and_silent_hosts_are_refused(host, monkeypatch):
    monkeypatch.setattr(remote, "is_public", lambda address: True)
    assert refusal(f"http://{host}/elsewhere") is None
    assert refusal(f"http://{host}/image", max_body=len(CONTENT) - 1) is None
    assert refusal("http://localhost:1/image") is None
    assert refusal("http://localhost:99999/image") is None
    assert refusal(f"https://{host}/image") is None
