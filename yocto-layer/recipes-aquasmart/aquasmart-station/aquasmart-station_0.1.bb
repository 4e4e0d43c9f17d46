SUMMARY = "Counts what a refill station dispenses, for the cloud, exactly once"
DESCRIPTION = "The station's services (reader, sync, check, panel, LED) and the technician's command."
HOMEPAGE = "https://aquasmart.example"
BUGTRACKER = "https://aquasmart.example/issues"
SECTION = "net"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://../LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# This repository's own files, and the only copy of each: what deploy/deb/build.py packs for Debian is what is packed here.
FILESEXTRAPATHS:prepend := "${AQUASMART_REPOSITORY}:"
SRC_URI = "\
    file://LICENSE \
    file://station/pyproject.toml \
    file://station/src/aquasmart_station \
    file://station/share \
    file://systemd \
    file://docs/technician.md \
    file://deploy/deb/station/station.toml \
    file://tests/unit/station \
    file://tests/contract \
    file://tests/prometheus.py \
    file://run-ptest \
"

S = "${WORKDIR}/station"

inherit python_setuptools_build_meta systemd useradd ptest

# Byte code of whoever worked in the tree, and other builds' metadata, are no sources.
do_unpack[postfuncs] += "forget_byte_code"
forget_byte_code() {
    find ${WORKDIR}/station ${WORKDIR}/tests -name __pycache__ -prune -exec rm -rf {} +
    rm -rf ${S}/src/*.egg-info ${S}/build
}

# --- units. The rule is deploy/deb/build.py's: what has an [Install] section is enabled, everything is installed.
def aquasmart_enabled_units(d):
    import glob
    import os
    enabled = []
    for path in sorted(glob.glob(os.path.join(d.getVar('AQUASMART_REPOSITORY'), 'systemd', 'aquasmart*.*'))):
        if path.endswith(('.service', '.socket', '.target', '.timer')):
            bb.parse.mark_dependency(d, path)
            with open(path, encoding='utf-8') as unit:
                if '[Install]' in unit.read():
                    enabled.append(os.path.basename(path))
    return ' '.join(enabled)

SYSTEMD_PACKAGES = "${PN}"
SYSTEMD_SERVICE:${PN} = "${@aquasmart_enabled_units(d)}"

# --- users. The same as systemd/aquasmart.sysusers (tests/yocto compares), made when the image is made: at boot /etc is
# read-only. With fixed numbers: what they own lies on the data partition, which outlives every image, and a number that
# changed from one image to the next would give the log to somebody else.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system --gid 970 aquasmart; --system --gid 971 aquasmart-panel; --system --gid 972 aquasmart-led"
USERADD_PARAM:${PN} = "\
    --system --uid 970 --gid aquasmart --no-create-home --home-dir ${localstatedir}/lib/aquasmart --shell /sbin/nologin --comment 'AquaSmart station' aquasmart; \
    --system --uid 971 --gid aquasmart-panel --groups aquasmart --no-create-home --home-dir / --shell /sbin/nologin --comment 'AquaSmart station page' aquasmart-panel; \
    --system --uid 972 --gid aquasmart-led --groups aquasmart --no-create-home --home-dir / --shell /sbin/nologin --comment 'AquaSmart health LED' aquasmart-led \
"

do_install:append() {
    # Isolated: neither the environment nor a home folder decides what a station runs.
    sed -i '1s|.*|#!${bindir}/python3 -I|' ${D}${bindir}/aquasmart

    install -d ${D}${systemd_system_unitdir}
    for unit in ${WORKDIR}/systemd/aquasmart*.service ${WORKDIR}/systemd/aquasmart*.socket \
                ${WORKDIR}/systemd/aquasmart*.target ${WORKDIR}/systemd/aquasmart*.timer; do
        [ ! -e "$unit" ] || install -m 0644 "$unit" ${D}${systemd_system_unitdir}/
    done
    install -D -m 0644 ${WORKDIR}/systemd/aquasmart.sysusers ${D}${nonarch_libdir}/sysusers.d/aquasmart.conf
    install -D -m 0644 ${WORKDIR}/systemd/aquasmart.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/aquasmart.conf
    install -D -m 0644 ${WORKDIR}/systemd/60-aquasmart.rules ${D}${nonarch_base_libdir}/udev/rules.d/60-aquasmart.rules

    # The mount point of what provisioning writes.
    install -d ${D}${sysconfdir}/aquasmart

    install -D -m 0644 ${WORKDIR}/docs/technician.md ${D}${docdir}/aquasmart-station/technician.md
    install -D -m 0644 ${WORKDIR}/deploy/deb/station/station.toml ${D}${docdir}/aquasmart-station/examples/station.toml
    install -D -m 0644 ${S}/share/man/aquasmart.1 ${D}${mandir}/man1/aquasmart.1
    install -D -m 0644 ${S}/share/completions/aquasmart.bash ${D}${datadir}/bash-completion/completions/aquasmart
    install -D -m 0644 ${S}/share/completions/aquasmart.zsh ${D}${datadir}/zsh/vendor-completions/_aquasmart
    install -D -m 0644 ${S}/share/completions/aquasmart.fish ${D}${datadir}/fish/vendor_completions.d/aquasmart.fish
}

do_install_ptest() {
    install -d ${D}${PTEST_PATH}/tests/unit
    cp -r --no-preserve=ownership ${WORKDIR}/tests/unit/station ${D}${PTEST_PATH}/tests/unit/
    cp -r --no-preserve=ownership ${WORKDIR}/tests/contract ${D}${PTEST_PATH}/tests/
    install -m 0644 ${WORKDIR}/tests/prometheus.py ${D}${PTEST_PATH}/tests/
    # The vectors are for both sides; the cloud is not on a station.
    rm -f ${D}${PTEST_PATH}/tests/contract/test_cloud_vectors.py ${D}${PTEST_PATH}/tests/contract/test_rotation_vector.py
}

# The units name it by this path; it is what a technician reads on the spot.
PACKAGES =+ "${PN}-doc-technician ${PN}-bash-completion ${PN}-zsh-completion ${PN}-fish-completion"
FILES:${PN}-doc-technician = "${docdir}/aquasmart-station/technician.md"
FILES:${PN}-bash-completion = "${datadir}/bash-completion"
FILES:${PN}-zsh-completion = "${datadir}/zsh"
FILES:${PN}-fish-completion = "${datadir}/fish"
FILES:${PN} += "${nonarch_libdir}/sysusers.d ${nonarch_libdir}/tmpfiles.d ${nonarch_base_libdir}/udev/rules.d ${systemd_system_unitdir}"

# station/pyproject.toml's dependencies, its extras panel and qr, and of Python's own what it imports: python3 is cut into
# packages, and tests/yocto looks each module up in the list of them (tomllib is in -misc, secrets in -netclient).
RDEPENDS:${PN} += "\
    ${PN}-doc-technician \
    ca-certificates \
    python3-click \
    python3-compression \
    python3-core \
    python3-crypt \
    python3-ctypes \
    python3-datetime \
    python3-email \
    python3-fcntl \
    python3-flask \
    python3-io \
    python3-json \
    python3-logging \
    python3-math \
    python3-misc \
    python3-mmap \
    python3-multiprocessing \
    python3-netclient \
    python3-netserver \
    python3-numbers \
    python3-pyserial \
    python3-resource \
    python3-rich \
    python3-sdnotify \
    python3-segno \
    python3-shell \
    python3-sqlite3 \
    python3-statistics \
    python3-stringold \
    python3-terminal \
    python3-threading \
    python3-unixadmin \
    python3-urllib3 \
    python3-waitress \
    udev \
"
RDEPENDS:${PN}-ptest += "python3-hypothesis python3-pytest"
RRECOMMENDS:${PN} += "${PN}-bash-completion"
