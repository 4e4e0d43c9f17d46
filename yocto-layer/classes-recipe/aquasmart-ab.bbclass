# What the two-slot card looks like: the one place for sizes, labels, partition numbers and names. The images, the .wks.in
# files, the bundle recipe, RAUC's system.conf, the boot script, U-Boot's fragments and fw_env.config all take it from here
# by `inherit aquasmart-ab`; none of them repeats a figure.
#
#   0              1 MiB        2 MiB         4 MiB
#   | MBR | (SPL)  | env copy 1 | env copy 2  | 1 boot (FAT) | 2 slot A | 3 slot B | 4 data, grown to the card |
#
# Four primary partitions of an MBR and no more: the boot ROM of the AM335x and of a Pi 3 reads nothing else reliably.
# The kernel lies in /boot of each slot, so that it is updated and rolled back with the files it belongs to; the boot
# partition holds only what the ROM needs to come as far as the boot script, and provisioning files.

# --- what a bundle and an image are called; a bundle of another board must never be installed
AQUASMART_COMPATIBLE ?= "aquasmart-${MACHINE}"
# semantic version of the image, and the number that only ever grows (roll-back protection). A release sets both.
AQUASMART_IMAGE_VERSION ?= "0.1.0"
AQUASMART_BUNDLE_NUMBER ?= "1"

# --- partitions
AQUASMART_PART_BOOT = "1"
AQUASMART_PART_A = "2"
AQUASMART_PART_B = "3"
AQUASMART_PART_DATA = "4"

# Labels of the file systems. Those of A and B tell what the factory image wrote: an update writes the bundle's own file
# system over a slot, label included. So slots are addressed by partition number, and only data and boot by label.
AQUASMART_LABEL_BOOT = "boot"
AQUASMART_LABEL_A = "aquasmart-a"
AQUASMART_LABEL_B = "aquasmart-b"
AQUASMART_LABEL_DATA = "aquasmart-data"

# --- sizes in MiB. Fixed for the life of a card: an update cannot move a partition. A slot has room for a root file system
# twice today's; everything together fits the 4 GB (3.6 GiB) eMMC of a BeagleBone with a data partition of 1.4 GiB.
AQUASMART_BOOT_MIB = "128"
AQUASMART_SLOT_MIB = "1024"
# as flashed; grown to the end of the card at first boot
AQUASMART_DATA_MIB = "128"
# the largest root file system that fits a slot, in KiB, for IMAGE_ROOTFS_MAXSIZE
AQUASMART_SLOT_KIB = "${@int(d.getVar('AQUASMART_SLOT_MIB')) * 1024}"
# start of the first partition in KiB, for wic's --align
AQUASMART_FIRST_ALIGN_KIB = "4096"

# --- the disk as Linux names it, and what stands between it and the number of a partition ("p" after a digit)
AQUASMART_DISK ?= "/dev/mmcblk0"
AQUASMART_DISK:qemuall ?= "/dev/vda"
AQUASMART_PART_PREFIX = "${@d.getVar('AQUASMART_DISK') + ('p' if d.getVar('AQUASMART_DISK')[-1].isdigit() else '')}"
AQUASMART_DEV_BOOT = "${AQUASMART_PART_PREFIX}${AQUASMART_PART_BOOT}"
AQUASMART_DEV_A = "${AQUASMART_PART_PREFIX}${AQUASMART_PART_A}"
AQUASMART_DEV_B = "${AQUASMART_PART_PREFIX}${AQUASMART_PART_B}"
AQUASMART_DEV_DATA = "${AQUASMART_PART_PREFIX}${AQUASMART_PART_DATA}"

# --- the disk as U-Boot names it: interface and number
AQUASMART_UBOOT_DISK ?= "mmc 0"
AQUASMART_UBOOT_DISK:qemuall ?= "virtio 0"

# --- U-Boot's environment: two copies in the gap before the first partition, each with a sequence number and a CRC. A power
# cut while one is written leaves the other. One MiB apart: more than the erase block of small cards' controllers, so that
# a torn write does not reach both. Bytes from the start of the disk.
AQUASMART_ENV_OFFSET = "0x100000"
AQUASMART_ENV_OFFSET_REDUND = "0x200000"
AQUASMART_ENV_SIZE = "0x10000"

# --- where the bootloader's counters live, as RAUC's U-Boot back end names them
AQUASMART_BOOT_ORDER = "A B"
AQUASMART_BOOT_TRIES = "3"
# Two copies where U-Boot writes the environment itself. It does not on a virtio disk, so on QEMU the boot script reads and
# writes one copy at AQUASMART_ENV_OFFSET (`virtio read`, `env import -c`; `env export -c`, `virtio write`), which
# fw_setenv understands as well. A machine for trying out has no power cuts.
AQUASMART_ENV_COPIES = "2"
AQUASMART_ENV_COPIES:qemuall = "1"

# --- what the boot script gives the kernel beside root=: a machine id that was made at first boot (the variable machine_id of
# the environment, 32 hexadecimal digits, set by aquasmart-identity.service), where there is one:
#   if test -n "${machine_id}"; then setenv bootargs "${bootargs} systemd.machine_id=${machine_id}"; fi
