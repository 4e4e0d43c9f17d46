"""Bundles as the real `rauc` makes and verifies them: the cloud takes its word for what they are, and nobody else's."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.cloud.rollouts.scenes import Command
from tests.integration.cloud.senders import CloudUnderTest

pytestmark = pytest.mark.needs("rauc")
MANIFEST = """\
[update]
compatible=aquasmart-qemuarm64
version=1.5.0
{build}
[bundle]
format=verity

[image.rootfs]
filename=rootfs.ext4
"""


def keys(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    folder.mkdir()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=test")
    command = ("openssl", "req", *words, "-keyout", str(key), "-out", str(certificate))
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def bundle(folder: Path, pair: tuple[Path, Path], build: str = "build=13\n") -> Path:
    content, made = folder / "content", folder / "made.raucb"
    content.mkdir(parents=True)
    (content / "rootfs.ext4").write_bytes(os.urandom(65_536))
    (content / "manifest.raucm").write_text(MANIFEST.format(build=build))
    command = ("rauc", "bundle", f"--cert={pair[0]}", f"--key={pair[1]}", str(content), str(made))
    subprocess.run(command, check=True, capture_output=True)
    return made


def trusting(cloud: CloudUnderTest, keyring: Path | None) -> None:
    updates = dataclasses.replace(cloud.config.updates, keyring=keyring)
    cloud.config = dataclasses.replace(cloud.config, updates=updates)


def test_a_signed_bundle_says_itself_what_it_is(cloud: CloudUnderTest, command: Command, tmp_path: Path) -> None:
    pair = keys(tmp_path / "keys")
    trusting(cloud, pair[0])
    made = bundle(tmp_path / "ours", pair)
    found = command("bundle", "add", str(made))
    facts = (found["version"], found["number"], found["compatible"], found["verified"], found["size_bytes"])
    assert facts == ("1.5.0", 13, "aquasmart-qemuarm64", True, made.stat().st_size)
    assert command("bundle", "list")["bundles"] == [found]


def test_what_is_said_of_it_must_agree(cloud: CloudUnderTest, command: Command, tmp_path: Path) -> None:
    pair = keys(tmp_path / "keys")
    trusting(cloud, pair[0])
    made = bundle(tmp_path / "ours", pair)
    for words in (("--version", "1.6.0"), ("--number", "14"), ("--compatible", "aquasmart-beaglebone")):
        status, said = command("bundle", "add", str(made), *words)
        assert (status, f"not {words[1]}" in said) == (1, True)


def test_a_foreign_signature_and_a_bundle_without_a_number_are_refused(
    cloud: CloudUnderTest, command: Command, tmp_path: Path
) -> None:
    ours, theirs = keys(tmp_path / "ours"), keys(tmp_path / "theirs")
    trusting(cloud, ours[0])
    foreign = bundle(tmp_path / "foreign", theirs)
    status, said = command("bundle", "add", str(foreign))
    assert (status, "rauc does not accept this bundle" in said) == (1, True)
    nameless = bundle(tmp_path / "nameless", ours, build="")
    status, said = command("bundle", "add", str(nameless))
    assert (status, "lacks version, build" in said) == (1, True)
    data = bytearray(foreign.read_bytes())
    data[-600] ^= 1
    foreign.write_bytes(data)
    assert command("bundle", "add", str(foreign))[0] == 1
    assert list((tmp_path / "bundles").iterdir()) == []


def test_without_a_keyring_its_form_is_looked_at_and_its_facts_are_asked_for(
    cloud: CloudUnderTest, command: Command, tmp_path: Path
) -> None:
    made = bundle(tmp_path / "ours", keys(tmp_path / "keys"))
    assert "say the bundle's version" in command("bundle", "add", str(made))[1]
    words = ("--version", "1.5.0", "--number", "13", "--compatible", "aquasmart-qemuarm64")
    assert command("bundle", "add", str(made), *words)["verified"] is False
