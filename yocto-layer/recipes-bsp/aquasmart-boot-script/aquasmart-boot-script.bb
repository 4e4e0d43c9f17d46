SUMMARY = "AquaSmart: U-Boot's script that chooses a slot and counts the tries of a fresh one"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

inherit aquasmart-boot-counters kernel-arch deploy nopackages

# In the place of meta-raspberrypi's own script; the distribution prefers this one.
PROVIDES += "u-boot-default-script"
DEPENDS = "u-boot-mkimage-native"
INHIBIT_DEFAULT_DEPS = "1"
SRC_URI = "file://boot.cmd.in"
PACKAGE_ARCH = "${MACHINE_ARCH}"

# What differs between boards: how the kernel is started, where the device tree comes from, the words before ours on the
# kernel's command line. These are the replacements of a sed: `$\{` is U-Boot's own `${`, kept from BitBake.
AQUASMART_BOOTCMD = "bootz"
AQUASMART_BOOTCMD:aarch64 = "booti"
AQUASMART_BOOT_SETUP = ""
AQUASMART_BOOT_FDT = 'aq_fdt="$\{fdt_addr}"'
AQUASMART_BOOT_ARGS = 'console=$\{console} panic=10'

# The Pi's firmware has made the device tree, with the board's own words for the kernel in it.
AQUASMART_BOOT_SETUP:rpi = 'fdt addr $\{fdt_addr} \&\& fdt get value bootargs /chosen bootargs'
AQUASMART_BOOT_ARGS:rpi = '$\{bootargs} panic=10'

# A BeagleBone's device trees are in the slot, with the kernel; which one it is, its EEPROM says.
AQUASMART_BOOT_SETUP:beaglebone-yocto = "run findfdt"
AQUASMART_BOOT_FDT:beaglebone-yocto = 'load @DISK@:$\{aq_part} $\{fdt_addr_r} /boot/$\{fdtfile} \&\& aq_fdt="$\{fdt_addr_r}"'

AQUASMART_BOOT_ARGS:qemuarm64 = "console=ttyAMA0 panic=10"

# U-Boot writes its environment itself, two copies of it, but on a virtio disk it does not: there the script does, one copy.
AQUASMART_BOOT_LOADENV = ""
AQUASMART_BOOT_SAVEENV = "saveenv"
AQUASMART_ENV_BLOCKS = "${@'%#x %#x' % tuple(int(d.getVar(n), 0) // 512 for n in ('AQUASMART_ENV_OFFSET', 'AQUASMART_ENV_SIZE'))}"
AQUASMART_BOOT_LOADENV:qemuall = "virtio read 0x48000000 ${AQUASMART_ENV_BLOCKS} \&\& env import -c 0x48000000 ${AQUASMART_ENV_SIZE}"
AQUASMART_BOOT_SAVEENV:qemuall = "env export -c -s ${AQUASMART_ENV_SIZE} 0x48000000 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT machine_id \
\&\& virtio write 0x48000000 ${AQUASMART_ENV_BLOCKS}"

do_compile() {
    sed -e 's|@LOADENV@|${AQUASMART_BOOT_LOADENV}|' -e 's|@SAVEENV@|${AQUASMART_BOOT_SAVEENV}|' \
        -e 's|@SETUP@|${AQUASMART_BOOT_SETUP}|' -e 's|@FDT@|${AQUASMART_BOOT_FDT}|' \
        -e 's|@BOOTARGS@|${AQUASMART_BOOT_ARGS}|' -e 's|@BOOTCMD@|${AQUASMART_BOOTCMD}|' \
        -e 's|@KERNEL@|${KERNEL_IMAGETYPE}|' \
        -e 's|@DISK@|${AQUASMART_UBOOT_DISK}|' \
        -e 's|@PART_A@|${AQUASMART_PART_A}|' -e 's|@PART_B@|${AQUASMART_PART_B}|' \
        -e 's|@DEV_A@|${AQUASMART_DEV_A}|' -e 's|@DEV_B@|${AQUASMART_DEV_B}|' \
        -e 's|@GOOD@|${AQUASMART_BOOT_GOOD}|' -e 's|@TRIES@|${AQUASMART_BOOT_TRIES}|' \
        "${WORKDIR}/boot.cmd.in" > boot.cmd
    if grep -v '^#' boot.cmd | grep -q '@[A-Z_]*@'; then
        bbfatal "boot.cmd has words that were not filled in"
    fi
    mkimage -A ${UBOOT_ARCH} -T script -C none -n "AquaSmart boot script" -d boot.cmd boot.scr
}

do_deploy() {
    install -D -m 0644 boot.scr ${DEPLOYDIR}/boot.scr
}

addtask do_deploy after do_compile before do_build
