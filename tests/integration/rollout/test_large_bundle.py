"""A large bundle through the real gunicorn, by the page and back to a station: on the disk, never in memory."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.nginx_site import NginxSite
from tests.fakes.rauc_bundle import MadeBundle, make_bundle
from tests.integration.outpost import House
from tests.integration.rollout.scenes import Board, Fleet
from tests.integration.wire import Message

pytestmark = pytest.mark.e2e
MakeBoard = Callable[..., Board]
MakeLine = Callable[[], http.client.HTTPConnection]
BLOCKS = 24_000
"""94 MiB."""
ROOM_KIB = 24 * 1024
"""By how much the cloud's memory may grow meanwhile: a quarter of the bundle."""


class Page:
    """A signed-in person's browser."""

    def __init__(self, house: House, line: MakeLine) -> None:
        self._line = line
        link = re.findall(r"/sign-in/\S+", house.site.cloud("sign-in-link"))[0]
        answer, _ = self.ask("GET", link)
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        answer, text = self.ask("GET", "/rollouts")
        assert answer.status == 200, (answer.status, text)
        self.form = re.findall(r'name="form" value="([0-9a-f]+)"', text)[0]

    def ask(
        self, method: str, path: str, body: Iterator[bytes] | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        line = self._line()
        cookie = {"Cookie": self._cookie} if hasattr(self, "_cookie") else {}
        line.request(method, path, body, cookie | {name.replace("_", "-"): value for name, value in headers.items()})
        answer = line.getresponse()
        text = answer.read().decode()
        # What is shown later comes with the same session, its form's token in it.
        cookies = answer.getheader("Set-Cookie")
        if cookies:
            self._cookie = cookies.partition(";")[0]
        line.close()
        return answer, text

    def upload(self, path: Path, to: str = "/bundles", **fields: str) -> int:
        head = "".join(
            f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {"form": self.form, **fields}.items()
        )
        head += '--xx\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\n'
        tail = b"\r\n--xx--\r\n"
        length = len(head) + path.stat().st_size + len(tail)

        def pieces() -> Iterator[bytes]:
            yield head.encode()
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    yield piece
            yield tail

        answer, _ = self.ask(
            "POST", to, pieces(), Content_Type="multipart/form-data; boundary=xx", Content_Length=str(length)
        )
        return answer.status


def peak_kib(house: House) -> int:
    """The most that any process of the cloud has taken of the memory so far."""
    master = house.site.pid("cloud")
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    said = [Path(f"/proc/{pid}/status").read_text() for pid in (str(master), *children)]
    return max(int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) for text in said)


def fetched(line: http.client.HTTPConnection, board: Board, made: MadeBundle) -> tuple[int, str]:
    """The whole bundle, asked for as a station does: the answer's status, and what came, as its SHA-256."""
    message = Message(
        f"GET /v1/bundles/{made.sha256} HTTP/1.1",
        (
            ("Host", "cloud"),
            ("X-Station-Id", board.station_id),
            ("X-Key-Id", board.key_id),
            ("X-Timestamp", str(time.time_ns() // 1_000_000)),
            ("X-Software-Version", "0.1.0"),
        ),
        b"",
    ).signed(board.key)
    line.request("GET", f"/v1/bundles/{made.sha256}", headers=dict(message.headers))
    answer, digest = line.getresponse(), hashlib.sha256()
    while piece := answer.read(1 << 20):
        digest.update(piece)
    line.close()
    return answer.status, digest.hexdigest()


def test_a_large_bundle_goes_in_by_the_page_and_out_to_a_station_without_filling_the_memory(
    make_board: MakeBoard, fleet: Fleet, tmp_path: Path
) -> None:
    def line() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", fleet.house.port, timeout=120)

    board, page = make_board("large"), Page(fleet.house, line)
    made = make_bundle(tmp_path / "large.raucb", "2.0.0", 20, blocks=BLOCKS)
    before_kib = peak_kib(fleet.house)
    assert page.upload(made.path, version="2.0.0", number="20", compatible="aquasmart-test") == 303
    assert peak_kib(fleet.house) - before_kib < ROOM_KIB
    fleet.start(made, "large")
    assert fetched(line(), board, made) == (200, made.sha256)
    assert peak_kib(fleet.house) - before_kib < ROOM_KIB


@pytest.mark.needs("nginx")
def test_the_deployed_nginx_lets_a_bundle_in_by_its_page_alone(
    make_board: MakeBoard, fleet: Fleet, tmp_path: Path
) -> None:
    """Larger than what it takes anywhere else (8 MiB), and as large on its way to a station."""
    made = make_bundle(tmp_path / "passing.raucb", "2.1.0", 21, blocks=BLOCKS // 8)
    assert made.path.stat().st_size > 8 << 20
    folder = tmp_path / "nginx"
    folder.mkdir()
    with NginxSite(folder, fleet.house.port) as site:

        def line() -> http.client.HTTPConnection:
            return http.client.HTTPSConnection("127.0.0.1", site.port, timeout=120, context=site.tls)

        board, page = make_board("passing"), Page(fleet.house, line)
        assert page.upload(made.path, version="2.1.0", number="21", compatible="aquasmart-test") == 303
        fleet.start(made, "passing")
        assert fetched(line(), board, made) == (200, made.sha256)
        assert page.upload(made.path, to="/rollouts", bundle=made.sha256) == 413
