"""What `make image-smoke` is made of, as far as it can be tried without booting anything."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from demo.site import REPOSITORY
from tests.image import card as cards
from tests.image import standin
from tests.image.console import Console, Unheard
from tests.update.bundles import make_keys, run
from tests.yocto.recipes import CONFIG_RECIPE

PACKAGE = "/usr/lib/python3.12/site-packages/aquasmart_station"
DRIVER = REPOSITORY / "station/src/aquasmart_station/meters/pulse.py"


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """A root file system as an image has it, as far as it is altered."""
    tree = tmp_path / "tree"
    for name, text in (
        (f"{PACKAGE}/meters/pulse.py", DRIVER.read_text()),
        (cards.IMAGE_JSON, '{"version": "1.0.0", "number": 7, "compatible": "aquasmart-qemuarm64"}\n'),
    ):
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    target = tmp_path / "slot.ext4"
    run("mke2fs", "-q", "-t", "ext4", "-d", tree, target, "16M")
    return target


def test_a_later_version_of_an_image_differs_in_what_is_said_and_nothing_else(slot: Path, tmp_path: Path) -> None:
    assert cards.package_in(slot) == PACKAGE
    changes = cards.numbered(slot, 8) | cards.blind(slot, PACKAGE, 90)
    cards.replace(slot, changes, tmp_path / "changes")
    assert cards.image_json(slot) == {"version": "8.0.0", "number": 8, "compatible": "aquasmart-qemuarm64"}
    assert cards.content(slot, f"{PACKAGE}/meters/pulse.py").decode() == DRIVER.read_text().replace('rb"F1', 'rb"F2')
    assert b"--within 90" in cards.content(slot, f"{cards.MARK_GOOD}/quick.conf")
    said = run("debugfs", "-R", f"stat {cards.IMAGE_JSON}", slot)
    assert "Type: regular    Mode:  0644" in said
    assert "User:     0   Group:     0" in said
    run("e2fsck", "-fn", slot)


def test_what_is_no_image_of_ours_is_refused(slot: Path, tmp_path: Path) -> None:
    with pytest.raises(cards.NotAnImage, match="no partition table"):
        cards.card_from(slot, tmp_path / "card.img", 64)
    with pytest.raises(cards.NotAnImage, match="larger than a card"):
        cards.card_from(slot, tmp_path / "card.img", 8)
    other = tmp_path / "other.ext4"
    run("mke2fs", "-q", "-t", "ext4", other, "8M")
    with pytest.raises(cards.NotAnImage, match="no aquasmart_station"):
        cards.package_in(other)
    with pytest.raises(cards.NotAnImage, match="which version"):
        cards.image_json(other)


def test_the_recipes_own_install_tasks_make_the_appliance(tmp_path: Path) -> None:
    """Their words are carried out by a shell, with nothing that BitBake would have filled in left open."""
    root = tmp_path / "root"
    standin.install_appliance_files(root, tmp_path)
    standin.install_rauc(root, tmp_path, make_keys(tmp_path / "keys"))
    units = {path.name for path in (CONFIG_RECIPE.parent / "aquasmart-config/units").iterdir()}
    assert units <= {path.name for path in (root / "usr/lib/systemd/system").iterdir()}
    wanted = root / "usr/lib/systemd/system/local-fs.target.wants"
    assert all((wanted / link.readlink()).exists() for link in wanted.iterdir())
    assert (root / "etc/fw_env.config").read_text() == "/dev/vda 0x100000 0x10000\n"
    assert '"number": 1, "compatible": "aquasmart-qemuarm64"' in (root / "usr/share/aquasmart/image.json").read_text()
    conf = (root / "etc/rauc/system.conf").read_text()
    assert "device=/dev/vda2" in conf
    assert "device=/dev/vda3" in conf
    assert (root / "usr/libexec/aquasmart/pre-install").stat().st_mode & 0o777 == 0o755


class Line:
    """The board's end of a serial line."""

    def __init__(self, folder: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(folder / "line"))
        self._server.listen()
        self.console = Console(folder / "line")
        self.board = self._server.accept()[0]

    def answer(self, asked: str, said: str) -> None:
        """Echo a line that is typed, and say something."""
        typed = b""
        while not typed.endswith(b"\r"):
            typed += self.board.recv(100)
        assert typed.decode().strip() == asked
        self.board.sendall(f"{asked}\r\n{said}".encode())

    def close(self) -> None:
        self.console.close()
        self.board.close()
        self._server.close()


def test_a_document_is_found_among_what_the_kernel_says(tmp_path: Path) -> None:
    line = Line(tmp_path)
    torn = '{"a": \r\n[   12.345678] usb 1-1: new device\r\n 1}\r\nstation> '
    board = threading.Thread(target=line.answer, args=("aquasmart status --json", torn))
    board.start()
    assert line.console.ask_json("aquasmart status --json", 10) == {"a": 1}
    board.join()
    with pytest.raises(Unheard, match=r"did not come within 0\.1 s"):
        line.console.wait("aquasmart: slot B", 0.1)
    line.close()
