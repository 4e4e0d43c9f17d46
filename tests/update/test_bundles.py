"""Bundles by the real RAUC: made, verified, refused; what the install handler refuses once more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aquasmart_station.adapters.rauc import Rauc
from aquasmart_station.adapters.update_files import UpdateFiles
from aquasmart_station.core.errors import UpdateError
from aquasmart_station.core.updating import BundleInfo, MeterNow, StationNow
from aquasmart_station.services.updating import Refused, install
from demo.site import REPOSITORY
from tests.update.bundles import (
    COMPATIBLE,
    HANDLER,
    KEY_SCRIPT,
    Keys,
    ToolFailed,
    make_bundle,
    make_keys,
    manifest,
    run,
    system_conf,
)

pytestmark = pytest.mark.needs("rauc")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "ours")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "theirs", "somebody else's")


@pytest.fixture
def rauc(keys: Keys, tmp_path: Path) -> Rauc:
    """RAUC with the station's own configuration, and a boot loader that does nothing."""
    conf = tmp_path / "system.conf"
    conf.write_text(system_conf(bootloader="noop", device_a="/dev/null", device_b="/dev/zero"))
    (tmp_path / "keyring.pem").write_bytes(keys.keyring.read_bytes())
    return Rauc("rauc", "--conf", str(conf))


def test_a_bundle_says_what_its_manifest_says(rauc: Rauc, keys: Keys, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, keys, number=12, version="1.4.0")
    assert rauc.info(bundle) == BundleInfo("1.4.0", 12, COMPATIBLE)


def test_a_foreign_signature_is_refused(rauc: Rauc, foreign: Keys, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, foreign, number=13)
    with pytest.raises(UpdateError, match="ignature") as refusal:
        rauc.info(bundle)
    assert "not signed by who may update" in refusal.value.hint


def test_our_certificate_for_something_else_signs_no_bundle(rauc: Rauc, keys: Keys, tmp_path: Path) -> None:
    """The authority may sign other things one day: only certificates for code count."""
    other = Keys(tmp_path / "other")
    other.folder.mkdir()
    make = (
        "openssl",
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "bundle.key.pem",
        "-out",
        "csr",
        "-subj",
        "/CN=web",
    )
    run(*make, cwd=other.folder)
    (other.folder / "ext").write_text("extendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n")
    run(
        "openssl", "x509", "-req", "-in", "csr", "-CA", keys.keyring, "-CAkey", keys.folder / "ca.key.pem",
        "-CAcreateserial", "-CAserial", "serial", "-extfile", "ext", "-out", "bundle.cert.pem", cwd=other.folder,
    )  # fmt: skip
    bundle = make_bundle(tmp_path, other, number=13)
    with pytest.raises(UpdateError, match="purpose"):
        rauc.info(bundle)


def test_a_bundle_cut_short_or_with_a_changed_manifest_is_refused(rauc: Rauc, keys: Keys, tmp_path: Path) -> None:
    whole = make_bundle(tmp_path, keys, number=13).read_bytes()
    for name, content in (
        ("half", whole[: len(whole) // 2]),
        ("empty", b""),
        ("changed", whole.replace(b"build=13", b"build=99")),
        ("noise", bytes(range(256)) * 64),
    ):
        path = tmp_path / f"{name}.raucb"
        path.write_bytes(content)
        with pytest.raises(UpdateError) as refusal:
            rauc.info(path)
        assert refusal.value.hint, name


def test_a_plain_bundle_is_refused(rauc: Rauc, keys: Keys, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, keys, number=13, bundle_format="plain")
    with pytest.raises(UpdateError, match="format"):
        rauc.info(bundle)


@pytest.mark.parametrize("number", ["2026-11-28", "0", "12345678901"])
def test_a_bundle_without_a_number_of_ours(rauc: Rauc, keys: Keys, tmp_path: Path, number: str) -> None:
    with pytest.raises(UpdateError, match="no bundle number"):
        rauc.info(make_bundle(tmp_path, keys, number=number))


def test_no_rauc_and_no_file(rauc: Rauc, tmp_path: Path) -> None:
    with pytest.raises(UpdateError) as refusal:
        rauc.info(tmp_path / "nowhere.raucb")
    assert refusal.value.hint == "Is the path right?"
    with pytest.raises(UpdateError, match="cannot be run"):
        Rauc("/nonexistent/rauc").info(tmp_path)


def files_of(tmp_path: Path, number: int) -> UpdateFiles:
    image = tmp_path / "image.json"
    image.write_text(f'{{"version": "1.4.0", "number": {number}, "compatible": "{COMPATIBLE}"}}')
    return UpdateFiles(tmp_path / "state", tmp_path / "run", image, (tmp_path / "cmdline",))


def test_installing_asks_first(rauc: Rauc, keys: Keys, tmp_path: Path) -> None:
    files = files_of(tmp_path, 12)
    counting = StationNow(12, on_trial=False, meters=(MeterNow("tap-1", read=True, flowing=False),))
    for bundle, code in (
        (make_bundle(tmp_path, keys, number=11), "older"),
        (make_bundle(tmp_path, keys, number=14, compatible="aquasmart-beaglebone-yocto"), "compatible"),
    ):
        with pytest.raises(Refused) as refusal:
            install(bundle, rauc=rauc, files=files, look=lambda: counting)
        assert [reason.code for reason in refusal.value.reasons] == [code]
        assert refusal.value.final
    assert not (tmp_path / "state").exists(), "a refusal writes nothing"


def test_the_smallest_payload(keys: Keys, tmp_path: Path) -> None:
    """RAUC wants more than 4 KiB of payload. No image of ours is so small; a bundle made by hand for a trial may be."""
    tiny = tmp_path / "tiny"
    tiny.write_bytes(b"x")
    with pytest.raises(ToolFailed, match="must be larger than 4096 bytes"):
        make_bundle(tmp_path, keys, number=1, image=tiny)


def test_keys_are_made_outside_the_tree_once_and_for_their_owner_only(keys: Keys) -> None:
    assert {path.name for path in keys.folder.iterdir()} == {
        "keyring.pem", "bundle.cert.pem", "bundle.key.pem", "ca.key.pem",
    }  # fmt: skip
    assert {(keys.folder / name).stat().st_mode & 0o077 for name in ("bundle.key.pem", "ca.key.pem")} == {0}
    with pytest.raises(ToolFailed, match="holds keys already"):
        run(KEY_SCRIPT, keys.folder)
    inside = REPOSITORY / "build" / "no-keys-here"
    try:
        with pytest.raises(ToolFailed, match="inside the source tree"):
            run(KEY_SCRIPT, inside)
        assert not list(inside.glob("*"))
    finally:
        inside.rmdir()


# The handler, as RAUC calls it: in its own shell, with the bundle's manifest where RAUC mounts it.


def handler(
    tmp_path: Path,
    *,
    number: object,
    good: str | None = None,
    present: int | None = 12,
    words: str = "",
    proved: bool = False,
) -> subprocess.CompletedProcess[str]:
    root, bundle = tmp_path / "root", tmp_path / "bundle"
    for folder in ("var/lib/aquasmart-update", "run/aquasmart-update", "etc/aquasmart", "proc/1"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    bundle.mkdir(exist_ok=True)
    (bundle / "manifest.raucm").write_text(manifest(str(number), "1.0.0", COMPATIBLE, "verity"))
    if good is not None:
        (root / "var/lib/aquasmart-update/highest-good").write_text(good)
    if present is not None:
        (root / "etc/aquasmart/image.json").write_text(
            f'{{"version": "1.4.0", "number": {present}, "compatible": "{COMPATIBLE}"}}\n'
        )
    (root / "proc/cmdline").write_text(f"console=ttyAMA0 {words}\n")
    (root / "proc/1/cmdline").write_bytes(b"/sbin/init\0")
    if proved:
        (root / "run/aquasmart-update/good").write_text("12\n")
    return subprocess.run(
        ["sh", str(HANDLER), str(root)], env={"RAUC_BUNDLE_MOUNT_POINT": str(bundle), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "good", "present", "refused"),
    [
        (13, "12\n", 12, ""),
        (12, "12\n", 12, ""),  # over the other slot, too
        (11, "12\n", 11, "older than 12"),
        (11, None, 12, "older than 12"),
        (11, "garbage", 12, "older than 12"),
        (11, "", 11, ""),
        (13, "14", 12, "older than 14"),
        (9, "10\n", 8, "older than 10"),  # numbers, not words
        (1, None, None, ""),
        ("012", "11\n", 9, ""),  # not octal
        ("", "1\n", 1, "no build=N"),
        ("0", "1\n", 1, "no build=N"),
        ("1.2", "1\n", 1, "no build=N"),
        ("99999999999", "1\n", 1, "no build=N"),
    ],
)
def test_the_handler_lets_nothing_older_in(
    tmp_path: Path, number: object, good: str | None, present: int | None, refused: str
) -> None:
    done = handler(tmp_path, number=number, good=good, present=present)
    assert (done.returncode != 0) == bool(refused), done.stdout + done.stderr
    assert refused in done.stderr


def test_the_handler_keeps_the_way_back_of_a_trial(tmp_path: Path) -> None:
    for word in ("aquasmart.trial=fallback", "aquasmart.trial=last"):
        done = handler(tmp_path, number=13, words=f"rauc.slot=B {word}")
        assert done.returncode != 0
        assert "on trial" in done.stderr
    assert handler(tmp_path, number=13, words="rauc.slot=B aquasmart.trial=fallback", proved=True).returncode == 0


def test_the_handler_does_not_take_another_sections_words(tmp_path: Path) -> None:
    handler(tmp_path, number=5, present=12)
    (tmp_path / "bundle/manifest.raucm").write_text(
        f"[update]\ncompatible={COMPATIBLE}\nversion=1\n\n[bundle]\nformat=verity\n\n[meta.x]\nbuild=99\n"
    )
    done = subprocess.run(
        ["sh", str(HANDLER), str(tmp_path / "root")], env={"RAUC_BUNDLE_MOUNT_POINT": str(tmp_path / "bundle")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no build=N" in done.stderr
