# RAUC's configuration, the install handler, and the certificate that bundles are verified with.
#
# RAUC_KEYRING_FILE comes from outside the tree, as an absolute path (kas hands it through): what scripts/development-keys.sh
# makes, or a release's own. An image without it could never be updated, so it is not made.
inherit ${@bb.utils.contains('DISTRO', 'aquasmart', 'aquasmart-boot-counters', '', d)}

FILESEXTRAPATHS:prepend:aquasmart := "${THISDIR}/files:"
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
    if ! grep -q 'BEGIN CERTIFICATE' ${WORKDIR}/${RAUC_KEYRING_FILE}; then
        bbfatal "RAUC_KEYRING_FILE is no certificate. For trying out: yocto-layer/scripts/development-keys.sh FOLDER, then \
RAUC_KEYRING_FILE=FOLDER/keyring.pem"
    fi
    rm -f ${D}${sysconfdir}/rauc/*.pem
    install -m 0644 ${WORKDIR}/${RAUC_KEYRING_FILE} ${D}${sysconfdir}/rauc/keyring.pem
    install -D -m 0755 ${WORKDIR}/pre-install.sh ${D}${libexecdir}/aquasmart/pre-install
}

FILES:${PN}:append:aquasmart = " ${libexecdir}/aquasmart/pre-install"
