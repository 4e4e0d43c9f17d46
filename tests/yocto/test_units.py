"""The appliance's units, as systemd itself reads them: beside the station's own, with what they start in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from .appliance import FILES, appliance
from .recipes import REPOSITORY

pytestmark = pytest.mark.needs("netns", "mount-namespace", "systemd-analyze")


def test_systemd_finds_no_fault_in_them(tmp_path: Path) -> None:
    with appliance(tmp_path / "station") as here:
        names = []
        for unit in [*(FILES / "units").iterdir(), *(REPOSITORY / "systemd").glob("aquasmart*.*")]:
            if unit.suffix in {".service", ".socket", ".target", ".mount", ".timer"}:
                here.put(unit, f"/etc/systemd/system/{unit.name}")
                names.append(unit.name.replace("@.", "@sda1."))
        # What others bring: only their names matter here.
        for other in ("var-volatile-lib.service", "NetworkManager.service", "chronyd.service"):
            here.write(f"/etc/systemd/system/{other}", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
        for program in ("/usr/sbin/e2fsck", "/usr/sbin/nft"):
            assert here.run("test", "-x", program, check=False).returncode == 0, program
        said = here.run("systemd-analyze", "verify", "--man=no", *sorted(names), check=False)
        ours = [line for line in said.stderr.splitlines() if any(name in line for name in names)]
        assert ours == [], said.stderr
        # An unknown setting would be told: that this test can fail.
        here.write("/etc/systemd/system/data.mount", "[Mount]\nWhat=/dev/x\nWhere=/data\nNonsense=yes\n")
        again = here.run("systemd-analyze", "verify", "--man=no", "data.mount", check=False)
        assert "Nonsense" in again.stderr
