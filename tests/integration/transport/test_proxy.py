"""Through a proxy: a tunnel to the https cloud, TLS from end to end, only where station.toml says so."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from aquasmart_station.adapters.http import HttpCourier, HttpSettings
from aquasmart_station.adapters.tls import TlsSettings
from aquasmart_station.config import load_config
from aquasmart_station.core.errors import BadConfig
from aquasmart_station.core.outcome import Answer, NoAnswer
from tests.integration.transport.authority import Authority
from tests.integration.transport.servers import OK, answering, server

CREDENTIALS = "station:geheim"


class Proxy:
    """Tunnels a CONNECT to where it asks, for whoever has the password; remembers what it could see."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.seen = b""

    def __call__(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                return
            head += piece
        self.asked.append(head)
        wanted = b"Basic " + base64.b64encode(CREDENTIALS.encode())
        if wanted not in head:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = head.split(b" ")[1].rpartition(b":")
        with socket.create_connection((host.decode(), int(port))) as far:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._tunnel(connection, far)

    def _tunnel(self, near: socket.socket, far: socket.socket) -> None:
        while True:
            for ready in select.select([near, far], [], [], 30)[0]:
                data = ready.recv(65_536)
                self.seen += data
                if not data:
                    with contextlib.suppress(OSError):
                        (far if ready is near else near).shutdown(socket.SHUT_WR)
                    return
                (far if ready is near else near).sendall(data)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def posted(settings: HttpSettings) -> Answer | NoAnswer:
    courier = HttpCourier(settings)
    pending, answer = courier.post("/v1/ingest?a=b", {"X-Key": "visible"}, b"the water"), None
    while answer is None:
        answer = pending.wait(1.0)
    courier.abandon()
    return answer


def through(authority: Authority, credentials: str | None, ca: Path) -> tuple[Answer | NoAnswer, Proxy]:
    proxy = Proxy()
    with server(answering(OK), authority.issue().server()) as cloud, server(proxy) as address:
        settings = HttpSettings(cloud, 5, 5, TlsSettings(ca_file=ca), address, credentials)
        return posted(settings), proxy


def test_the_proxy_carries_and_sees_nothing(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    answer, proxy = through(authority, CREDENTIALS, authority.certificate)
    assert isinstance(answer, Answer), answer
    assert answer.body == b"{}"
    (asked,) = proxy.asked
    assert asked.startswith(b"CONNECT 127.0.0.1:")
    for private in (b"the water", b"visible", b"/v1/ingest"):
        assert private not in asked + proxy.seen


def test_a_proxy_that_refuses_is_named(authority: Authority) -> None:
    answer, _ = through(authority, "station:wrong", authority.certificate)
    assert isinstance(answer, NoAnswer)
    assert "proxy" in answer.reason


def test_behind_a_proxy_the_pinned_authority_counts_as_ever(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "Some other authority")
    answer, proxy = through(authority, CREDENTIALS, stranger.certificate)
    assert isinstance(answer, NoAnswer)
    assert b"the water" not in proxy.seen


STATION = """station_id = "demo-1"
[cloud]
url = "{url}"
key_id = "k1"
key_file = "station.key"
{more}
[[meters]]
id = "tap-1"
driver = "pulse"
port = "tap-1"
k_factor = "450"
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    for name, text in (("station.key", "0b" * 32), ("proxy.credentials", CREDENTIALS)):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)

    def write(url: str, more: str) -> Path:
        (tmp_path / "station.toml").write_text(STATION.format(url=url, more=more))
        return tmp_path / "station.toml"

    return write


def test_a_proxy_in_station_toml(written: Callable[..., Path]) -> None:
    more = 'proxy_url = "http://proxy.example:3128"\nproxy_credentials_file = "proxy.credentials"'
    path = written("https://cloud.example", more)
    cloud = load_config(path).cloud
    assert (cloud.proxy_url, cloud.proxy_credentials) == ("http://proxy.example:3128", CREDENTIALS)
    assert CREDENTIALS.partition(":")[2] not in repr(cloud)
    (path.parent / "proxy.credentials").chmod(0o644)
    with pytest.raises(BadConfig, match="chmod 600"):
        load_config(path)


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("http://cloud.example", 'proxy_url = "http://p:1"', "only an https:// cloud"),
        ("https://cloud.example", 'proxy_url = "http://me:secret@p:1"', "without user or password"),
        ("https://cloud.example", 'proxy_credentials_file = "proxy.credentials"', "of no use without proxy_url"),
    ],
)
def test_a_proxy_that_cannot_be_used(written: Callable[..., Path], url: str, more: str, says: str) -> None:
    with pytest.raises(BadConfig, match=says) as fault:
        load_config(written(url, more))
    assert "secret" not in str(fault.value).replace("proxy_credentials", "")
