#!/usr/bin/python3 -I
"""The operator's command as the package installs it (/usr/bin/aquasmart-cloud).

For root it is what the services are: their settings (/etc/aquasmart-cloud/cloud.env, read as systemd reads it), their
user, their home. Otherwise a command typed by root would ask another database than the services write to, and leave
files that they cannot open. Anybody else, the services among them, gets their own environment unchanged.
What the package brings stands before what Debian has: docs/decisions/0042-appliance.md.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Iterable
from pathlib import Path

USER = "aquasmart-cloud"
STATE = Path("/var/lib/aquasmart-cloud")
SETTINGS = Path("/etc/aquasmart-cloud/cloud.env")


def settings(lines: Iterable[str]) -> dict[str, str]:
    """The assignments of an EnvironmentFile (systemd.exec(5)): one a line, comments after # or ;, quotes taken off.
    A value that goes on in the next line is not known here. Lines that assign nothing are left out, as systemd does."""
    found = {}
    for line in map(str.strip, lines):
        name, assigns, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not assigns or line[0] in "#;" or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            continue
        if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
            quote, value = value[0], value[1:-1]
            value = value if quote == "'" else re.sub(r'\\(["\\`$])', r"\1", value)
        else:
            value = re.sub(r"\\(.)", r"\1", value)
        found[name] = value
    return found


def become_the_service() -> None:
    """From root to the services' user. Variables that are set already win over the file's, as those of a person who
    names another database for one command."""
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        sys.exit(f"aquasmart-cloud: there is no user {USER}: the package is half installed; run: dpkg --configure -a")
    if SETTINGS.exists():
        for name, value in settings(SETTINGS.read_text(encoding="utf-8").splitlines()).items():
            os.environ.setdefault(name, value)
    os.environ.setdefault("AQUASMART_MASTER_KEY_FILE", str(STATE / "master.key"))
    # PostgreSQL's client takes its name and its password file from these.
    os.environ.update(HOME=entry.pw_dir, USER=USER, LOGNAME=USER)
    os.initgroups(USER, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.umask(0o077)


if __name__ == "__main__":
    if os.geteuid() == 0:
        become_the_service()
    sys.path.insert(0, "/usr/lib/aquasmart-cloud")
    from aquasmart_cloud.cli import main

    main()
