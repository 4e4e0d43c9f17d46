"""How the installed command reads the services' settings: as systemd does, or root would ask another database."""

from __future__ import annotations

import pytest

from demo.site import REPOSITORY
from deploy.deb.cloud.command import settings


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("A=1", {"A": "1"}),
        ("  A = 1  ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=x?host=/run/postgresql&b=c=d", {"A": "x?host=/run/postgresql&b=c=d"}),
        ("A='a # b'", {"A": "a # b"}),
        ("A=a # b", {"A": "a # b"}),
        ('A="say \\"so\\""', {"A": 'say "so"'}),
        ("A='\\n'", {"A": "\\n"}),
        ("A=a\\ b", {"A": "a b"}),
        ("# A=1", {}),
        ("; A=1", {}),
        ("", {}),
        ("no assignment", {}),
        ("export A=1", {}),
        ("1A=1", {}),
    ],
)
def test_a_line_is_read_as_systemd_reads_it(line: str, found: dict[str, str]) -> None:
    assert settings([line]) == found


def test_the_later_line_wins() -> None:
    assert settings(["A=1", "A=2"]) == {"A": "2"}


def test_the_shipped_file_names_no_database() -> None:
    """As it comes, the cloud is on SQLite in its own folder."""
    shipped = settings((REPOSITORY / "deploy/deb/cloud/cloud.env").read_text().splitlines())
    assert shipped == {"AQUASMART_BIND": "127.0.0.1:8000", "AQUASMART_PROXIES": "1"}
