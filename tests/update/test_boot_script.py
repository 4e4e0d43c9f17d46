"""The boot script in the real U-Boot: every state of the counters, and what a power cut makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.update.recipe import LAYOUT, boot_cmd
from tests.update.uboot import GOOD, SCRIPT, WORDS, Board, boot_script, command_lines, kernels_in

needs_uboot = pytest.mark.needs("uboot")


def test_the_recipe_makes_the_script_that_is_run_here(tmp_path: Path) -> None:
    assert set(re.findall(r"@([A-Z_]+)@", SCRIPT.read_text())) == set(WORDS)
    disk = {"KERNEL_IMAGETYPE": "Image", "AQUASMART_UBOOT_DISK": "virtio 0"}
    devices = {"AQUASMART_DEV_A": "/dev/vda2", "AQUASMART_DEV_B": "/dev/vda3"}
    made = boot_cmd(tmp_path, ("aarch64", "qemuall", "qemuarm64"), LAYOUT | disk | devices)
    assert _code(made) == _code(boot_script())


@pytest.mark.parametrize(
    ("overrides", "kernel", "lines"),
    [
        (
            ("aarch64", "rpi", "raspberrypi4-64"),
            "Image",
            [
                "fdt addr ${fdt_addr} && fdt get value bootargs /chosen bootargs",
                'aq_base="${bootargs} panic=10"',
                'aq_fdt="${fdt_addr}"',
                "booti ${kernel_addr_r} - ${aq_fdt}",
            ],
        ),
        (
            ("arm", "beaglebone-yocto"),
            "zImage",
            [
                "run findfdt",
                'aq_base="console=${console} panic=10"',
                'load mmc 0:${aq_part} ${fdt_addr_r} /boot/${fdtfile} && aq_fdt="${fdt_addr_r}"',
                "bootz ${kernel_addr_r} - ${aq_fdt}",
            ],
        ),
    ],
)
def test_the_scripts_of_real_boards(tmp_path: Path, overrides: tuple[str, ...], kernel: str, lines: list[str]) -> None:
    disk = {"KERNEL_IMAGETYPE": kernel, "AQUASMART_UBOOT_DISK": "mmc 0"}
    devices = {"AQUASMART_DEV_A": "/dev/mmcblk0p2", "AQUASMART_DEV_B": "/dev/mmcblk0p3"}
    made = [line.strip() for line in _code(boot_cmd(tmp_path, overrides, LAYOUT | disk | devices))]
    for line in lines:
        assert line in made
    assert made.count("saveenv") == 3
    assert "if saveenv; then" in made
    assert f"if load mmc 0:${{aq_part}} ${{kernel_addr_r}} /boot/{kernel}; then" in made
    assert "@" not in "".join(made)


def _code(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def first_boot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, str]:
    """A card as it was flashed, both slots filled, after its first boot; and what was said."""
    board = Board(tmp_path_factory.mktemp("board"))
    return board, board.boots(2)[1]


@needs_uboot
def test_a_card_as_it_was_flashed(first_boot: tuple[Board, str]) -> None:
    board, said = first_boot
    assert kernels_in(said) == ["A", "A"]
    # Seeded once, and not counted: there is nothing to go back to, and a power cut is no fault of the image.
    assert said.count("first boot of this card") == 1
    assert board.counters() == ("A B", GOOD, GOOD)
    assert command_lines(said)[0] == "console=ttyAMA0 panic=10 root=/dev/vda2 rootwait ro rauc.slot=A "


@needs_uboot
def test_a_card_with_one_slot_filled(tmp_path: Path) -> None:
    board = Board(tmp_path, slot_b=False)
    assert board.boots(1)[0] == ["A"]
    assert board.counters() == ("A B", GOOD, "0")


@pytest.fixture
def board(first_boot: tuple[Board, str]) -> Board:
    """The same card, for a state of its own: each test sets its counters."""
    return first_boot[0]


@needs_uboot
def test_a_good_slot_is_started_without_a_write(board: Board) -> None:
    board.set_counters("A B", GOOD, "0")
    before = board.disk.read_bytes()
    assert board.boots(3)[0] == ["A", "A", "A"]
    assert board.disk.read_bytes() == before, "not a sector of the disk"


@needs_uboot
def test_three_tries_of_a_fresh_slot_then_the_good_one_for_ever(board: Board) -> None:
    board.set_counters("B A", GOOD, "3")
    slots, said = board.boots(6)
    assert slots == ["B", "B", "B", "A", "A", "A"]
    assert board.counters() == ("B A", GOOD, "0")
    lines = command_lines(said)
    assert ["aquasmart.trial=fallback" in line for line in lines[:6]] == [True, True, True, False, False, False]
    assert ["rauc.slot=B" in line for line in lines[:6]] == [True, True, True, False, False, False]
    assert "root=/dev/vda3" in lines[0]


@needs_uboot
def test_no_slot_known_to_be_good(board: Board) -> None:
    """A, A, A, then B, B, B, then none: all tries begin anew, and a restart."""
    board.set_counters("A B", "3", "3")
    slots, said = board.boots(7)
    assert slots == ["A", "A", "A", "B", "B", "B", "A"]
    assert said.count("all tries begin anew") == 1
    # Nothing to go back to: whoever runs is told so, and is not sent back.
    assert all("aquasmart.trial=last" in line for line in command_lines(said)[:7])
    assert board.counters() == ("A B", "2", "3")


@needs_uboot
@pytest.mark.parametrize("left_b", ["3", "2", "1"])
def test_a_power_cut_costs_one_try_of_the_same_slot_at_most(board: Board, left_b: str) -> None:
    board.set_counters("B A", GOOD, left_b)
    # Before the script has begun: nothing has changed.
    board.run_until(lambda said: "U-Boot 20" in said)
    assert board.counters() == ("B A", GOOD, left_b)
    # When the kernel runs: the try was saved before.
    board.boots(1)
    assert board.counters() == ("B A", GOOD, str(int(left_b) - 1))


@needs_uboot
def test_cuts_do_not_flip_slots(board: Board) -> None:
    """Power that comes and goes while a fresh slot is tried: that slot as long as it has tries, then the good one."""
    board.set_counters("B A", GOOD, "3")
    assert [board.boots(1)[0][0] for _ in range(5)] == ["B", "B", "B", "A", "A"]


@needs_uboot
def test_the_machines_own_id_is_handed_to_the_kernel_of_both_slots_and_kept(board: Board) -> None:
    board.set_counters("B A", GOOD, "1", machine_id="0123456789abcdef0123456789abcdef")
    slots, said = board.boots(2)
    assert slots == ["B", "A"]
    assert said.count("systemd.machine_id=0123456789abcdef0123456789abcdef") >= 2
    assert board.environment["machine_id"] == "0123456789abcdef0123456789abcdef"


@needs_uboot
def test_marked_good_ends_the_counting(board: Board) -> None:
    board.set_counters("B A", GOOD, "3")
    board.boots(1)
    board.set_counters("B A", GOOD, GOOD)  # aquasmart-mark-good, by RAUC
    assert board.boots(3)[0] == ["B", "B", "B"]


@needs_uboot
def test_a_slot_being_written_or_marked_bad_is_left_out(board: Board) -> None:
    # RAUC takes the slot out of the order and its tries away before it writes.
    board.set_counters("A", GOOD, "0")
    assert board.boots(2)[0] == ["A", "A"]
    board.set_counters("B A", GOOD, "0")
    assert board.boots(2)[0] == ["A", "A"]


@needs_uboot
@pytest.mark.parametrize("left_b", ["", "x", "-1"])
def test_a_counter_that_is_no_number_is_no_try(board: Board, left_b: str) -> None:
    board.set_counters("B A", GOOD, left_b)
    assert board.boots(1)[0] == ["A"]


@needs_uboot
def test_a_kernel_that_is_gone_or_broken(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.boots(1)
    # A file that is no kernel: the slot is given up in the same boot, not after three.
    board.spoil_kernel(3, "the kernel of slot B")
    board.set_counters("B A", GOOD, "3")
    assert board.boots(1)[0] == ["A"]
    assert board.counters() == ("B A", GOOD, "2")
    # A slot that cannot be read at all, though it was good.
    board.break_kernel(2)
    board.set_counters("A B", GOOD, "0")
    said = board.run_until(lambda text: text.count("all tries begin anew") >= 2)
    assert "slot A does not start" in said
    # The last resort: what was given up has its tries again, the good one stays in front.
    assert board.counters() in {("A B", GOOD, left) for left in "3210"}
