# RAUC's configuration, the install handler, and the certificates that bundles are verified with.
#
# The keyring comes from outside the tree: AQUASMART_KEYS_DIR holds keyring.pem (and, where bundles are signed,
# bundle.key.pem and bundle.cert.pem). scripts/development-keys.sh makes such a folder for trying things out.
inherit ${@bb.utils.contains('DISTRO', 'aquasmart', 'aquasmart-boot-counters', '', d)}

AQUASMART_KEYS_DIR ?= "${TOPDIR}/keys"
FILESEXTRAPATHS:prepend:aquasmart := "${THISDIR}/files:${AQUASMART_KEYS_DIR}:"
RAUC_KEYRING_FILE:aquasmart = "keyring.pem"
RAUC_KEYRING_URI:aquasmart = "file://keyring.pem"
SRC_URI:append:aquasmart = " file://pre-install.sh"

# The configuration names a board's disk.
PACKAGE_ARCH:aquasmart = "${MACHINE_ARCH}"

do_install:append:aquasmart() {
    sed -i -e 's,@COMPATIBLE@,${AQUASMART_COMPATIBLE},' \
        -e 's,@GOOD@,${AQUASMART_BOOT_GOOD},' -e 's,@TRIES@,${AQUASMART_BOOT_TRIES},' \
        -e 's,@DEV_A@,${AQUASMART_DEV_A},' -e 's,@DEV_B@,${AQUASMART_DEV_B},' \
        ${D}${sysconfdir}/rauc/system.conf
    if grep -q '^[^#]*@' ${D}${sysconfdir}/rauc/system.conf; then
        bbfatal "system.conf has words that were not filled in"
    fi
    install -D -m 0755 ${WORKDIR}/pre-install.sh ${D}${libexecdir}/aquasmart/pre-install
}

FILES:${PN}:append:aquasmart = " ${libexecdir}/aquasmart/pre-install"
