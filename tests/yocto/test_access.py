"""The technician's way in, for real: sshd with the image's configuration, its PAM, its shell, its firewall."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from aquasmart_station.core.pin import keep
from tests.integration.world import eventually

from .appliance import FILES, STATION, STATION_ON_WAN, Appliance, appliance

PIN, OTHER_PIN = "271828", "314159"


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance with a provisioned key and PIN, its firewall up, its sshd running."""
    folder = tmp_path_factory.mktemp("access")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with appliance(folder / "station") as here:
        here.write("/etc/aquasmart/technician.keys", Path(f"{key}.pub").read_text())
        here.write("/etc/aquasmart/panel.pin", keep(PIN, bytes(16)) + "\n", 0o640)
        here.run("/usr/libexec/aquasmart/data-folders", "/data")
        here.run("/usr/libexec/aquasmart/identity", "/data")
        here.run("/usr/sbin/nft", "-f", "/usr/lib/aquasmart/nftables.conf")
        # The image starts one for each knock (sshd.socket); the configuration is the same.
        log = folder / "sshd.log"
        daemon = here.start("/usr/sbin/sshd", "-D", "-e", "-f", "/usr/lib/aquasmart/sshd_config", log=log)
        try:
            eventually(lambda: "listening" in log.read_text(), "sshd listens")
            yield here
        finally:
            daemon.terminate()
            daemon.wait(10)


def ssh(station: Appliance, *words: str, key: bool = True, pin: str = "", user: str = "technician",
        options: tuple[str, ...] = (), address: str = STATION, where: str = "laptop",
        stdin: str = "") -> subprocess.CompletedProcess[str]:  # fmt: skip
    folder = station.folder.parent
    ask = folder / "ask"
    ask.write_text(f"#!/bin/sh\necho {pin}\n")
    ask.chmod(0o700)
    how = ["-i", str(folder / "key"), "-o", "BatchMode=yes"] if key else ["-o", "PubkeyAuthentication=no"]
    return station.from_(
        where, "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder / 'known'}",
        "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-o", "NumberOfPasswordPrompts=1", *how, *options,
        f"{user}@{address}", *words, stdin=stdin,
        environment={"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def shell() -> ModuleType:
    """The login shell's own rules, without a login."""
    loader = importlib.machinery.SourceFileLoader("technician_shell", str(FILES / "scripts/technician-shell"))
    spec = importlib.util.spec_from_loader("technician_shell", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


needs_station = pytest.mark.needs("netns", "mount-namespace", "sshd", "nftables")


@needs_station
def test_a_provisioned_key_opens_the_shell_that_knows_three_commands(station: Appliance) -> None:
    said = ssh(station, "help")
    assert said.returncode == 0, said.stderr
    assert "journalctl -u 'aquasmart-*'" in said.stdout
    version = ssh(station, "aquasmart --version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "aquasmart,"), version.stderr
    # systemd did not boot this copy; that it says so itself shows that it was asked.
    assert "systemd" in ssh(station, "systemctl status aquasmart-sync").stderr
    assert "journal" in (journal := ssh(station, "journalctl -u 'aquasmart-*' -n 5")).stdout + journal.stderr


@needs_station
@pytest.mark.parametrize(
    "line",
    [
        "cat /etc/shadow",
        "bash",
        "sh -c id",
        "/bin/sh",
        "systemctl status sshd",
        "systemctl stop aquasmart-firewall",
        "journalctl",
        "journalctl --file /etc/shadow",
        "journalctl -u ssh",
        "sudo bash",
        "sudo cat /etc/shadow",
        "su",
        "python3 -c 'print(1)'",
        "scp -t /tmp",
        "rsync --server . /",
    ],
)
def test_nothing_else_is_carried_out(station: Appliance, line: str) -> None:
    said = ssh(station, line)
    if line == "journalctl":
        assert "journal" in said.stdout + said.stderr  # without a unit it is asked for ours
        return
    assert said.returncode == 126
    assert "root:" not in said.stdout + said.stderr
    assert "uid=" not in said.stdout


@needs_station
@pytest.mark.parametrize(
    "line", ["help; id", "help && id", "help | id", "help $(id)", "help `id`", "help > /tmp/it", "help\nid"]
)
def test_what_a_shell_would_do_with_a_line_is_not_done(station: Appliance, line: str) -> None:
    said = ssh(station, line)
    assert "uid=" not in said.stdout + said.stderr
    assert not (station.folder / "root/tmp/it").exists()


@needs_station
def test_lines_typed_one_after_the_other_and_no_terminal_for_a_program(station: Appliance) -> None:
    said = ssh(station, stdin="help\nid\naquasmart --version\n", options=("-T",))
    assert "uid=" not in said.stdout
    assert "aquasmart," in said.stdout


@needs_station
def test_no_files_and_no_tunnel(station: Appliance) -> None:
    assert ssh(station, "sftp", options=("-s",)).returncode != 0
    through = ssh(station, options=("-W", f"{STATION_ON_WAN}:22"))
    assert through.returncode != 0
    assert "SSH-2.0" not in through.stdout


@needs_station
def test_root_and_others_do_not_come_in(station: Appliance) -> None:
    station.write(
        str(Path("~root/.ssh/authorized_keys").expanduser()), (station.folder.parent / "key.pub").read_text(), 0o600
    )
    for user in ("root", "aquasmart", "aquasmart-panel"):
        assert ssh(station, "help", user=user).returncode == 255
        assert ssh(station, "help", user=user, key=False, pin=PIN).returncode == 255


@needs_station
def test_the_stations_pin_opens_it_and_guessing_is_slow(station: Appliance) -> None:
    assert "journalctl" in ssh(station, "help", key=False, pin=PIN).stdout
    for _ in range(3):
        assert ssh(station, "help", key=False, pin=OTHER_PIN).returncode == 255
    # Now everybody waits, the right PIN too; a key does not.
    assert ssh(station, "help", key=False, pin=PIN).returncode == 255
    assert ssh(station, "help").returncode == 0
    station.run("rm", "/run/aquasmart-login/tries.json")
    assert ssh(station, "help", key=False, pin=PIN).returncode == 0


@needs_station
def test_the_serial_line_asks_for_the_same_pin(station: Appliance) -> None:
    """login as agetty starts it, at a terminal of its own; and nobody else comes in there either."""
    for user, pin, greeted in (("technician", PIN, True), ("technician", OTHER_PIN, False), ("root", PIN, False)):
        line, slave = pty.openpty()
        words = ["setsid", "--ctty", "--wait", *station.command("/bin/login", user)]
        with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave) as login:
            os.close(slave)
            seen = _until(line, "assword:")
            os.write(line, f"{pin}\n".encode())
            if greeted:
                seen += _until(line, "station> ")
                os.write(line, b"id\nexit\n")
                seen += _until(line, None)
            else:
                seen += _until(line, "Login incorrect")
            os.close(line)
            login.terminate()
        assert "uid=" not in seen
        assert ("AquaSmart station." in seen) is greeted
        assert ("id: not here" in seen) is greeted
    station.run("rm", "-f", "/run/aquasmart-login/tries.json")


def _until(line: int, text: str | None, timeout_s: float = 60) -> str:
    """What a terminal shows up to `text`, or to its end."""
    seen, deadline = "", time.monotonic() + timeout_s
    while (text is None or text not in seen) and time.monotonic() < deadline:
        if select.select([line], [], [], 0.2)[0]:
            try:
                seen += os.read(line, 4096).decode(errors="replace")
            except OSError:
                break
    assert text is None or text in seen, seen
    return seen


@needs_station
def test_from_the_wan_there_is_no_door(station: Appliance) -> None:
    said = ssh(station, "help", where="wan", address=STATION_ON_WAN)
    assert said.returncode == 255
    assert "timed out" in said.stderr


@pytest.mark.needs("sshd")
def test_sshd_takes_its_configuration(tmp_path: Path) -> None:
    """Debian's sshd, with the host key where the test may make one."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    text = (FILES / "etc/sshd_config").read_text().replace("/data/ssh/ssh_host_ed25519_key", str(key))
    (tmp_path / "sshd_config").write_text(text)
    Path("/run/sshd").mkdir(exist_ok=True)
    done = subprocess.run(["/usr/sbin/sshd", "-T", "-f", str(tmp_path / "sshd_config")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert (said["permitrootlogin"], said["passwordauthentication"], said["disableforwarding"]) == ("no", "no", "yes")
    assert (said["allowusers"], said["permitemptypasswords"]) == ("technician", "no")
    assert "subsystem" not in said


@pytest.mark.needs("sudo")
def test_sudo_takes_its_rules() -> None:
    rules = FILES / "etc/sudoers"
    done = subprocess.run(["visudo", "-c", "-f", str(rules)], capture_output=True, text=True)
    assert "parsed OK" in done.stdout, done.stdout + done.stderr


@needs_station
@pytest.mark.needs("sudo")
def test_every_root_command_of_the_shell_is_one_that_sudo_grants_and_no_other(
    station: Appliance, shell: ModuleType
) -> None:
    def granted(*words: str) -> bool:
        return station.run("sudo", "-n", "-l", "-U", "technician", *words, check=False).returncode == 0

    station.write("/usr/bin/systemctl-placeholder", "", 0o755)
    for words in shell.ROOT:
        asked = shell.command(["aquasmart", *words])
        assert granted(*asked[2:]), asked
    assert granted(*shell.command(["systemctl", "restart", "aquasmart-reader"])[2:])
    assert granted(*shell.command(["aquasmart", "update", "install", "/run/media/sda1/new-1.2.raucb"])[2:])
    flags = ["--despite-meters", "--again"]
    assert granted(*shell.command(["aquasmart", "update", "install", *flags, "/run/media/sda1/new-1.2.raucb"])[2:])
    for line in (
        "/usr/bin/aquasmart status",
        "/usr/bin/aquasmart --config /tmp/x provision",
        "/usr/bin/aquasmart provision /tmp/x",
        "/usr/libexec/aquasmart/provision /tmp/x",
        "/usr/bin/systemctl stop sshd.socket",
        "/bin/sh",
        "/usr/bin/aquasmart update install /run/media/../../tmp/x.raucb",
        "/usr/bin/systemctl start aquasmart-reader.service x",
        "/usr/bin/aquasmart update install /run/media/sda1/x.raucb --config /tmp/x",
    ):
        assert not granted(*line.split()), line


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("aquasmart status --json", ["/usr/bin/aquasmart", "status", "--json"]),
        ("sudo aquasmart pin set", ["/usr/bin/sudo", "-n", "/usr/bin/aquasmart", "pin", "set"]),
        ("sudo aquasmart status", ["/usr/bin/aquasmart", "status"]),
        ("aquasmart provision", ["/usr/bin/sudo", "-n", "/usr/libexec/aquasmart/provision"]),
        ("systemctl status", ["/usr/bin/systemctl", "--no-pager", "status", "aquasmart*"]),
        ("journalctl -f", ["/usr/bin/journalctl", "--no-pager", "-f", "-u", "aquasmart-*"]),
        (
            "journalctl --unit=aquasmart-sync --since '1 hour ago'",
            ["/usr/bin/journalctl", "--no-pager", "--unit=aquasmart-sync", "--since=1 hour ago"],
        ),
    ],
)
def test_what_a_line_becomes(shell: ModuleType, line: str, asked: list[str]) -> None:
    assert shell.command(shell.shlex.split(line)) == asked


@pytest.mark.parametrize(
    "line",
    [
        "aquasmart update install /tmp/x.raucb",
        "aquasmart update install /run/media/../x.raucb",
        "systemctl edit aquasmart-sync",
        "journalctl -u",
        "journalctl -D /etc",
        "journalctl -u aquasmart-sync -o export",
        "sudo -s",
        "sudo",
        "systemctl -H host status",
    ],
)
def test_what_is_refused(shell: ModuleType, line: str) -> None:
    with pytest.raises(shell.Refused):
        shell.command(shell.shlex.split(line))
