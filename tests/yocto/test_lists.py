"""What the layer's files name is what there is: units, users, files, dependencies, figures. No checkout is needed."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy.deb.build import Tree, build_station, enabled_units

from . import disk
from .appliance import FILES, section
from .recipes import AB_CLASS, CONFIG_RECIPE, LAYER, REPOSITORY, STATION_RECIPE, functions, layout, variables

STATION, CONFIG = variables(STATION_RECIPE), variables(CONFIG_RECIPE)
UNITS = FILES / "units"


def source_files(recipe: Path) -> list[str]:
    return [word.removeprefix("file://") for word in variables(recipe)["SRC_URI"].split() if word.startswith("file://")]


def test_what_the_station_recipe_takes_is_there() -> None:
    for name in source_files(STATION_RECIPE):
        assert (REPOSITORY / name).exists() or (STATION_RECIPE.parent / "files" / name).exists(), name
    # Everything its script names of them, as well.
    for place, name in re.findall(r"\$\{(WORKDIR|S)\}/([\w./-]+\.\w+)", functions(STATION_RECIPE)):
        assert (REPOSITORY / ("station" if place == "S" else "") / name).exists(), name


def test_the_recipe_installs_what_the_debian_package_installs(tmp_path: Path) -> None:
    """By the names of what deploy/deb/build.py really packs; where they go differs only where the systems do."""
    tree = Tree(tmp_path / "root", "aquasmart-station")
    tree.root.mkdir()
    build_station(tree)
    packed = {
        path.name.removesuffix(".gz")
        for path in tree.root.rglob("*")
        if path.is_file() and "dist-packages" not in str(path)
    }
    script = functions(STATION_RECIPE)
    installed = set(re.findall(r"/([\w.-]+)(?=\s*$)", script, re.MULTILINE)) | set(
        re.findall(r"[\w.-]+\.(?:md|toml|1|rules)", script)
    )
    by_rule = {
        path.name
        for path in (REPOSITORY / "systemd").glob("aquasmart*.*")
        if path.suffix in {".service", ".socket", ".target", ".timer"}
    }
    for glob in ("aquasmart*.service", "aquasmart*.socket", "aquasmart*.target", "aquasmart*.timer"):
        assert f"${{WORKDIR}}/systemd/{glob}" in script
    # `enable`: the Debian package's own list; the command comes with the wheel; completions have their folders' names.
    assert packed - installed - by_rule - {"enable", "aquasmart", "_aquasmart", "aquasmart.fish", "copyright"} == set()


OF_IMAGES = {"aquasmart-mark-good.service", "aquasmart-trial-over.timer", "aquasmart-update.service"}
"""What looks after an image. Debian's package has them, too, and leaves them off: there is no slot to look after."""


def test_the_units_that_an_image_enables_are_those_that_debian_enables_and_those_of_images() -> None:
    by_rule = {path.name for path in (REPOSITORY / "systemd").glob("aquasmart*.*") if "[Install]" in path.read_text()}
    assert by_rule == set(enabled_units()) | OF_IMAGES
    elsewhere_idle = ("ConditionPathExists=/etc/rauc/system.conf", "ConditionKernelCommandLine=aquasmart.trial=")
    for name in OF_IMAGES:
        assert any(line in (REPOSITORY / "systemd" / name).read_text() for line in elsewhere_idle)


def test_the_users_are_those_of_sysusers() -> None:
    """With a number each: what they own outlives the image."""
    text = (REPOSITORY / "systemd/aquasmart.sysusers").read_text()
    wanted = {words[1]: (words[3], words[4]) for words in map(shlex.split, text.splitlines()) if words[:1] == ["u"]}
    members = {(words[1], words[2]) for words in map(shlex.split, text.splitlines()) if words[:1] == ["m"]}
    made, joined, numbers = {}, set(), []
    for line in STATION["USERADD_PARAM:${PN}"].split(";"):
        words = shlex.split(line.replace("${localstatedir}", "/var"))
        value = {name: words[words.index(name) + 1] for name in ("--uid", "--home-dir", "--comment", "--gid")}
        made[words[-1]] = (value["--comment"], value["--home-dir"])
        numbers.append(value["--uid"])
        joined |= (
            {(words[-1], group) for group in words[words.index("--groups") + 1].split(",")}
            if "--groups" in words
            else set()
        )
    assert made == wanted
    assert joined == members
    assert len(set(numbers)) == len(numbers) == 3
    for line in STATION["GROUPADD_PARAM:${PN}"].split(";"):
        assert "--gid" in line


def test_the_recipe_depends_on_what_the_package_depends_on() -> None:
    project = tomllib.loads((REPOSITORY / "station/pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [re.match(r"[\w.-]+", line)[0] for line in [*project["dependencies"], *extras["panel"], *extras["qr"]]]
    assert {f"python3-{name}" for name in wanted} <= set(STATION["RDEPENDS:${PN}"].split())


def test_the_licence_is_this_one() -> None:
    import hashlib

    said = re.search(r"LICENSE;md5=(\w+)", STATION["LIC_FILES_CHKSUM"])[1]
    assert said == hashlib.md5((REPOSITORY / "LICENSE").read_bytes(), usedforsecurity=False).hexdigest()


def test_segno_is_the_one_that_the_station_is_tested_with() -> None:
    recipe = next((LAYER / "recipes-devtools/python").glob("python3-segno_*.bb"))
    version, hashes = recipe.stem.partition("_")[2], (REPOSITORY / "requirements/station.txt").read_text()
    assert f"segno=={version} " in hashes
    assert re.search(r"sha256:(\w+)", hashes[hashes.index("segno==") :]) is not None
    assert variables(recipe)["SRC_URI[sha256sum]"] in hashes


def test_every_unit_is_installed_and_every_enabled_one_can_be() -> None:
    enabled = set(CONFIG["SYSTEMD_SERVICE:${PN}"].split())
    script = functions(CONFIG_RECIPE)
    for path in UNITS.iterdir():
        text = path.read_text()
        if "[Install]" in text:
            assert path.name in enabled or path.name in script, path.name
        else:
            assert (
                path.name not in enabled
                or path.name == "aquasmart-journal-tail.service"
                or path.name == "aquasmart-data-check.service"
            )
    assert enabled <= {path.name for path in UNITS.iterdir()}


def test_a_mount_units_name_is_its_place() -> None:
    for path in UNITS.glob("*.mount"):
        where = section(path.read_text(), "Mount")["Where"].lstrip("/")
        assert path.stem == where.replace("-", "\\x2d").replace("/", "-")


def test_what_the_units_call_is_installed() -> None:
    scripts = {path.name for path in (FILES / "scripts").iterdir()}
    named = set()
    for path in [*UNITS.iterdir(), FILES / "etc/sshd_config", FILES / "etc/sudoers", CONFIG_RECIPE]:
        named |= set(re.findall(r"(?:/usr/libexec|\$\{libexecdir\})/aquasmart/([\w-]+)", path.read_text()))
    assert named <= scripts
    for path in (FILES / "scripts").iterdir():
        assert path.stat().st_mode & 0o111, path.name
    for path in (FILES / "etc").iterdir():
        assert f"/etc/{path.name}" in functions(CONFIG_RECIPE), path.name


def test_the_data_partition_is_mounted_by_the_label_that_wic_writes() -> None:
    figures = layout()
    mount = section((UNITS / "data.mount").read_text(), "Mount")
    assert mount["What"] == f"/dev/disk/by-label/{figures['AQUASMART_LABEL_DATA']}"
    assert {"commit=5", "errors=remount-ro"} <= set(mount["Options"].split(","))
    boot = section((UNITS / "boot-firmware.mount").read_text(), "Mount")
    assert boot["What"] == f"/dev/disk/by-label/{figures['AQUASMART_LABEL_BOOT']}"


def test_u_boot_keeps_its_environment_where_the_class_says_and_nothing_lies_over_it() -> None:
    figures = layout()
    text = (LAYER / "recipes-bsp/u-boot/files/aquasmart-env-mmc.cfg").read_text()
    said = dict(re.findall(r"^CONFIG_(ENV_\w+)=(0x\w+)$", text, re.MULTILINE))
    assert said == {
        "ENV_OFFSET": figures["AQUASMART_ENV_OFFSET"],
        "ENV_OFFSET_REDUND": figures["AQUASMART_ENV_OFFSET_REDUND"],
        "ENV_SIZE": figures["AQUASMART_ENV_SIZE"],
    }
    first, second, size = (int(figures[f"AQUASMART_ENV_{name}"], 16) for name in ("OFFSET", "OFFSET_REDUND", "SIZE"))
    assert first + size <= second
    assert second + size <= int(figures["AQUASMART_FIRST_ALIGN_KIB"]) * 1024
    # Everything fits the smallest card we speak of, an eMMC of 3.6 GiB.
    mib = sum(int(figures[f"AQUASMART_{name}_MIB"]) * times for name, times in (("BOOT", 1), ("SLOT", 2), ("DATA", 1)))
    assert mib + 16 < 3.6 * 1024


@pytest.mark.parametrize("machine", ["qemuarm64", "raspberrypi4-64", "beaglebone-yocto"])
def test_each_layout_has_four_partitions_in_their_order(machine: str) -> None:
    figures = layout()
    parts = [line.split() for line in disk.filled(machine).splitlines() if line.startswith("part ")]
    labels = [words[words.index("--label") + 1] for words in parts]
    sizes = [words[words.index("--fixed-size") + 1] for words in parts]
    assert labels == [figures[f"AQUASMART_LABEL_{name}"] for name in ("BOOT", "A", "B", "DATA")]
    assert sizes == [f"{figures[f'AQUASMART_{name}_MIB']}M" for name in ("BOOT", "SLOT", "SLOT", "DATA")]
    assert "--ptable msdos" in disk.filled(machine)


def test_every_append_is_gated_by_the_distribution() -> None:
    """Else the layer would change what other people's builds make, only by being there."""
    assigned = re.compile(r"^([A-Z][\w:${}-]*)\s*(?:[?:+.]*=|\(\))|^(do_[\w:-]+)\s*\(\)", re.MULTILINE)
    appends = list(LAYER.rglob("*.bbappend"))
    assert len(appends) > 5
    for path in appends:
        without_scripts = re.sub(r"\{\n.*?^\}", "{}", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for match in assigned.finditer(without_scripts):
            name = match[1] or match[2]
            assert ":aquasmart" in name or name.startswith("require"), f"{path.name}: {name}"


@pytest.mark.parametrize("name", ["rpi4", "bbb", "qemu"])
def test_a_kas_file_names_a_machine_and_commits_for_every_layer(name: str) -> None:
    folder = LAYER / "kas"
    own, base, lock = (yaml.safe_load((folder / f"{each}.yml").read_text()) for each in (name, "base", "lock"))
    assert (own["header"]["includes"], base["header"]["includes"]) == (
        ["yocto-layer/kas/base.yml"],
        ["yocto-layer/kas/lock.yml"],
    )
    assert own["machine"] in {"raspberrypi4-64", "beaglebone-yocto", "qemuarm64"}
    pinned = {repo: entry["commit"] for repo, entry in lock["overrides"]["repos"].items()}
    for repo, entry in {**base["repos"], **own.get("repos", {})}.items():
        if "url" in entry:
            assert re.fullmatch(r"[0-9a-f]{40}", entry.get("commit", pinned.get(repo, ""))), repo
    assert base["distro"] == "aquasmart"


def test_the_layer_depends_on_what_kas_brings() -> None:
    said = variables(LAYER / "conf/layer.conf")["LAYERDEPENDS_aquasmart"].split()
    assert set(said) == {"core", "openembedded-layer", "meta-python", "networking-layer", "rauc"}


def test_the_image_says_what_it_is() -> None:
    """The line that makes image.json, with what the class has: JSON, and the names that the station looks for."""
    line = re.search(r"printf '(\{.*\})\\n'", functions(CONFIG_RECIPE))[1]
    made = json.loads(line % ("1.4.0", "12", "aquasmart-qemuarm64"))
    assert made == {"version": "1.4.0", "number": 12, "compatible": "aquasmart-qemuarm64"}
    assert 'AQUASMART_COMPATIBLE ?= "aquasmart-${MACHINE}"' in AB_CLASS.read_text()


def test_nobody_has_a_password() -> None:
    for recipe in LAYER.rglob("*.bb"):
        text = recipe.read_text()
        for said in re.findall(r"--password '?([^' ]*)", text):
            assert said == "*"
        assert "EXTRA_USERS_PARAMS" not in text
    assert "debug-tweaks" not in variables(LAYER / "recipes-core/images/aquasmart-image.bb").get("IMAGE_FEATURES", "")


def test_the_tests_on_the_board_have_all_that_they_import() -> None:
    """What do_install_ptest takes of tests/ is whole: nothing in it imports what was left behind."""
    taken = [name for name in source_files(STATION_RECIPE) if name.startswith("tests/")]
    removed = re.search(r"^    rm -f (.*)$", functions(STATION_RECIPE), re.MULTILINE)[1]
    for name in taken:
        place = REPOSITORY / name
        for path in place.rglob("*.py") if place.is_dir() else [place]:
            if f"contract/{path.name}" in removed:
                continue
            text = path.read_text()
            assert not re.search(r"^\s*(from|import) (aquasmart_cloud|demo|deploy)\b", text, re.MULTILINE), path
            for module in re.findall(r"^\s*from (tests[\w.]*) import|^import (tests[\w.]*)", text, re.MULTILINE):
                wanted = (module[0] or module[1]).replace(".", "/")
                assert any(f"{wanted}/".startswith(f"{each.removesuffix('.py')}/") for each in taken), (path, wanted)
