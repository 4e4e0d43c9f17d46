"""An exported log: written by the station's command, taken in by the cloud's command, exactly once beside sync."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.faults import Fault, delayed_answer
from demo.site import Site, SiteError, program
from tests.integration.backlog import write_backlog
from tests.integration.world import World, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
MakeWorld = Callable[..., World]
EVENTS, STREAMS = 5_000, 3


@pytest.fixture
def loaded(make_world: MakeWorld) -> tuple[World, int]:
    """A site whose station has been offline: 5,000 events of three runs, none delivered. And their volume."""
    world = make_world()
    world.prepare()
    return world, write_backlog(world.site, events=EVENTS, streams=STREAMS)


def export(site: Site, target: Path, *words: str) -> dict[str, Any]:
    return dict(json.loads(site.station("log", "export", str(target), "--json", *words)))


def take_in(site: Site, bundle: Path, *words: str) -> dict[str, Any]:
    return dict(json.loads(site.cloud("import", str(bundle), "--json", *words)))


def refused(site: Site, bundle: Path, *words: str) -> str:
    with pytest.raises(SiteError) as failed:
        site.cloud("import", str(bundle), *words)
    return str(failed.value)


def nothing_stored(world: World) -> bool:
    return world.cloud.volume_ul() == 0 and world.cloud.batches() == [] and world.cloud.marks() == {}


def deliver_by_sync(world: World) -> None:
    world.start("cloud", "sync")
    world.await_delivered()


def test_import_then_sync(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, volume_ul = loaded
    exported = export(world.site, tmp_path)
    assert (exported["events"], exported["volume_ul"]) == (EVENTS, volume_ul)
    bundle = Path(exported["path"])
    assert bundle.parent == tmp_path
    assert [path.name for path in tmp_path.glob("*.bundle*")] == [bundle.name]  # no .part is left
    taken = take_in(world.site, bundle)
    assert (taken["inserted"], taken["duplicates"], len(taken["streams"])) == (EVENTS, 0, STREAMS)
    assert world.cloud.volume_ul() == volume_ul
    assert world.cloud.query("SELECT last_seen_at FROM station") == [(None,)]  # a file is no sign of life
    assert {row[0] for row in world.cloud.query("SELECT action FROM processing_log")} == {"import"}
    deliver_by_sync(world)
    assert (world.cloud.events(), world.cloud.volume_ul(), world.cloud.differences()) == (EVENTS, volume_ul, {})
    assert world.cloud.marks() == world.log.acknowledged()


def test_sync_then_import_and_import_again(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, volume_ul = loaded
    bundle = Path(export(world.site, tmp_path)["path"])
    deliver_by_sync(world)
    for _ in range(2):
        taken = take_in(world.site, bundle)
        assert (taken["inserted"], taken["duplicates"]) == (0, EVENTS)
    assert (world.cloud.events(), world.cloud.volume_ul(), world.cloud.differences()) == (EVENTS, volume_ul, {})
    assert export(world.site, tmp_path / "later.bundle")["events"] == 0
    assert take_in(world.site, tmp_path / "later.bundle")["inserted"] == 0
    everything = export(world.site, tmp_path / "all.bundle", "--all")
    assert everything["events"] == EVENTS
    assert take_in(world.site, tmp_path / "all.bundle")["duplicates"] == EVENTS


def test_half_by_sync_half_by_hand(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, volume_ul = loaded
    world.relay.inject(Fault(), Fault(), delayed_answer(20))
    world.start("cloud", "sync")
    eventually(lambda: world.cloud.events() > 0 and len(world.ingests()) >= 2, "some of it delivered")
    world.site.kill("sync")
    bundle = Path(export(world.site, tmp_path)["path"])
    before = world.cloud.events()
    taken = take_in(world.site, bundle)
    assert 0 < before < EVENTS
    assert taken["inserted"] == EVENTS - before
    deliver_by_sync(world)
    assert (world.cloud.events(), world.cloud.volume_ul(), world.cloud.differences()) == (EVENTS, volume_ul, {})


def test_words_for_people(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, _ = loaded
    said = world.site.station("log", "export", str(tmp_path / "x.bundle"))
    assert "5000 events" in said
    assert "aquasmart-cloud import" in said
    assert "5000 new events, 0 known already" in world.site.cloud("import", str(tmp_path / "x.bundle"))


# What is refused


def lines_of(bundle: Path) -> list[bytes]:
    return bundle.read_bytes().splitlines(keepends=True)


def cut_in_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3][:-200]]


def cut_after_a_line(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def reordered(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def a_line_left_out(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], *lines[3:]]


def a_line_twice(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[1], *lines[2:]]


def altered_body(lines: list[bytes]) -> list[bytes]:
    said = json.loads(lines[2])
    said["body"] = said["body"][:100] + ("A" if said["body"][100] != "A" else "B") + said["body"][101:]
    return [*lines[:2], json.dumps(said, separators=(",", ":")).encode() + b"\n", *lines[3:]]


def altered_time(lines: list[bytes]) -> list[bytes]:
    said = json.loads(lines[2])
    said["timestamp"] += 1
    return [*lines[:2], json.dumps(said, separators=(",", ":")).encode() + b"\n", *lines[3:]]


def altered_head(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"made_at":1', b'"made_at":2'), *lines[1:]]


def altered_manifest(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'requests\\":', b'requests\\":1')]


def something_behind(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[1]]


def no_bundle(_: list[bytes]) -> list[bytes]:
    return [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50]


def empty(_: list[bytes]) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    "change",
    [
        cut_in_a_line, cut_after_a_line, reordered, a_line_left_out, a_line_twice, altered_body, altered_time,
        altered_head, altered_manifest, something_behind, no_bundle, empty,
    ],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_a_bad_bundle_is_refused_whole(
    loaded: tuple[World, int], tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    world, _ = loaded
    bundle = Path(export(world.site, tmp_path)["path"])
    lines = lines_of(bundle)
    assert len(lines) == 2 + 3  # head, a request a stream, manifest
    changed = change(lines)
    assert changed != lines
    bundle.write_bytes(b"".join(changed))
    said = refused(world.site, bundle)
    assert "Error" in said
    assert "Traceback" not in said
    assert nothing_stored(world)


def test_a_foreign_key_is_refused(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, _ = loaded
    foreign = tmp_path / "foreign.key"
    foreign.write_text("ab" * 32)
    words = ("--from", str(world.site.root), "--key-file", str(foreign))
    export(world.site, tmp_path / "x.bundle", *words)
    assert "signature does not hold" in refused(world.site, tmp_path / "x.bundle")
    export(world.site, tmp_path / "y.bundle", *words, "--station-id", "stranger")
    assert "there is no key" in refused(world.site, tmp_path / "y.bundle")
    assert nothing_stored(world)


def test_a_revoked_key_needs_a_persons_word(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, volume_ul = loaded
    bundle = Path(export(world.site, tmp_path)["path"])
    world.site.cloud("station", "revoke", "demo-1")
    said = refused(world.site, bundle)
    assert "has been revoked" in said
    assert "--allow-revoked" in said
    assert nothing_stored(world)
    assert take_in(world.site, bundle, "--allow-revoked")["inserted"] == EVENTS
    assert world.cloud.volume_ul() == volume_ul


def test_a_retired_station_needs_a_persons_word(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, _ = loaded
    bundle = Path(export(world.site, tmp_path)["path"])
    world.site.cloud("station", "retire", "demo-1")
    assert "retired" in refused(world.site, bundle)
    assert nothing_stored(world)
    assert take_in(world.site, bundle, "--allow-retired")["inserted"] == EVENTS


def test_what_the_cloud_lacks_before_a_bundle_is_named(loaded: tuple[World, int], tmp_path: Path) -> None:
    """A cloud restored from an old backup: the station's marks are ahead of it."""
    world, volume_ul = loaded
    empty_cloud = tmp_path / "cloud.db"
    shutil.copyfile(world.cloud.path, empty_cloud)
    world.relay.set_state("pass")
    deliver_by_sync(world)
    world.site.kill("sync")
    world.site.kill("cloud")
    first = export(world.site, tmp_path / "all.bundle", "--all")
    for end in ("", "-wal", "-shm"):
        world.cloud.path.with_name("cloud.db" + end).unlink(missing_ok=True)
    shutil.copyfile(empty_cloud, world.cloud.path)
    assert first["events"] == EVENTS
    assert take_in(world.site, tmp_path / "all.bundle")["inserted"] == EVENTS
    assert world.cloud.volume_ul() == volume_ul


def test_an_old_card_is_drained_under_its_own_name_from_another_board(
    loaded: tuple[World, int], tmp_path: Path, make_world: MakeWorld
) -> None:
    world, volume_ul = loaded
    card = tmp_path / "card"
    shutil.copytree(world.site.root / "station", card)
    (card / "log.db").chmod(0o444)
    toml = world.site.config_path.read_text()
    (card / "station.toml").write_text(toml)
    shutil.copy(world.site.root / "station.key", card / "station.key")
    other_board = make_world()
    other_board.prepare()
    bundle = tmp_path / "card.bundle"
    exported = export(other_board.site, bundle, "--from", str(card))
    assert exported["volume_ul"] == volume_ul
    assert json.loads(lines_of(bundle)[0])["station"] == "demo-1"
    assert take_in(world.site, bundle)["inserted"] == EVENTS
    assert world.cloud.volume_ul() == volume_ul


def test_a_card_that_was_cut_is_read_with_its_wal(loaded: tuple[World, int], tmp_path: Path) -> None:
    """log.db and -wal as a power cut leaves them, on a medium that must not be written."""
    world, _ = loaded
    import sqlite3

    held = sqlite3.connect(world.log.path)
    held.execute("SELECT 1 FROM fence").fetchone()
    write_more = write_backlog(world.site, events=100, streams=1)
    assert write_more
    card = tmp_path / "card"
    card.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copyfile(world.log.path.with_name(name), card / name)
    held.close()
    words = ["--station-id", "demo-1", "--key-id", "k1", "--key-file", str(world.site.root / "station.key")]
    assert export(world.site, tmp_path / "x.bundle", "--from", str(card), *words)["events"] == EVENTS + 100


def test_an_export_that_cannot_be_written_leaves_nothing(loaded: tuple[World, int], tmp_path: Path) -> None:
    world, _ = loaded
    small = tmp_path / "stick"
    small.mkdir()
    command = [program("aquasmart"), "--config", str(world.site.config_path), "log", "export", str(small / "x.bundle")]
    # A file-size limit is what a full stick is to the one who writes.
    limited = ["bash", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert list(small.iterdir()) == []


def test_verify_says_what_is_there(loaded: tuple[World, int]) -> None:
    world, volume_ul = loaded
    report = json.loads(world.site.station("log", "verify", "--json"))
    assert (report["rows"], report["bad_rows"], report["streams"]) == (EVENTS, 0, STREAMS)
    assert (report["pending"], report["pending_ul"]) == (EVENTS, volume_ul)
    assert "the log is sound" in world.site.station("log", "verify")
