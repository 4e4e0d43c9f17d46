"""The CI script installs whatever a test may need: a capability nobody installs would fail every run there."""

from __future__ import annotations

import re

import pytest

from tests.capabilities import CAPABILITIES
from tests.lint.__main__ import ROOT


def installed_packages() -> set[str]:
    text = (ROOT / ".ci" / "run").read_text()
    return set(re.search(r"packages=\((.*?)\)", text, re.DOTALL)[1].split())


@pytest.mark.parametrize("name", sorted(CAPABILITIES))
def test_what_a_capability_names_is_installed(name: str) -> None:
    remedy = CAPABILITIES[name].remedy
    named = re.search(r"apt-get install ([a-z0-9 .+-]+)", remedy)
    assert named or remedy.endswith("run as root"), "a remedy is packages, or the right that lacks"
    assert not named or set(named[1].split()) <= installed_packages()
