"""A cloud with a folder for bundles, on each store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aquasmart_cloud import cli, cli_wiring
from tests.fakes.rauc_bundle import MadeBundle, make_bundle
from tests.integration.cloud.rollouts.scenes import Command
from tests.integration.cloud.senders import CloudUnderTest
from tests.integration.store.stores import Store


@pytest.fixture
def cloud(store: Store, tmp_path: Path) -> Iterator[CloudUnderTest]:
    """With a folder for bundles."""
    with store.cloud(tmp_path) as made:
        updates = replace(made.config.updates, folder=tmp_path / "bundles", most_bytes=8 << 20)
        made.config = replace(made.config, updates=updates)
        services = made.app.extensions["aquasmart"]
        made.app.extensions["aquasmart"] = replace(services, config=made.config)
        yield made


@pytest.fixture
def command(cloud: CloudUnderTest, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `aquasmart-cloud … --json` on this cloud: what it says, or its exit status and words where it fails."""
    monkeypatch.setattr(cli_wiring.Config, "or_exit", classmethod(lambda _: cloud.config))

    def run(*words: str) -> Any:
        done = CliRunner().invoke(cli.main, [*words, "--json"])
        return json.loads(done.stdout) if done.exit_code == 0 else (done.exit_code, done.stderr)

    return run


@pytest.fixture
def bundle(tmp_path: Path) -> MadeBundle:
    return make_bundle(tmp_path / "made.raucb", blocks=600)
