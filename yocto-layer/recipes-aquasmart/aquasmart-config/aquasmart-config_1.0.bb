SUMMARY = "What makes a board with AquaSmart on it an appliance"
DESCRIPTION = "Data partition, identity, clock floor, watchdog, journal, firewall, networks and the technician's way in."
HOMEPAGE = "https://aquasmart.example"
BUGTRACKER = "https://aquasmart.example/issues"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://units \
    file://scripts \
    file://etc \
"

S = "${WORKDIR}"

inherit aquasmart-ab systemd useradd features_check

REQUIRED_DISTRO_FEATURES = "systemd pam"

# Image version, board and disk are in it.
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# Nobody has a password. The technician's number is fixed like the station's (aquasmart-station): keys and files on the data
# partition outlive every image. dialout: `aquasmart meter probe`; systemd-journal: journalctl.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system --gid 973 technician; --system systemd-journal; --system --gid 970 aquasmart"
USERADD_PARAM:${PN} = "\
    --uid 973 --gid technician --groups aquasmart,dialout,systemd-journal --no-create-home --home-dir / \
    --shell ${libexecdir}/aquasmart/technician-shell --password '*' --comment 'Technician' technician \
"

SYSTEMD_PACKAGES = "${PN}"
SYSTEMD_SERVICE:${PN} = "\
    data.mount \
    aquasmart-data-check.service \
    aquasmart-data-grow.service \
    aquasmart-data-folders.service \
    var-lib-aquasmart.mount \
    etc-aquasmart.mount \
    boot-firmware.mount \
    aquasmart-firewall.service \
    aquasmart-identity.service \
    aquasmart-clock.service \
    aquasmart-journal-tail.service \
    aquasmart-journal-tail.timer \
    aquasmart-journal-last.service \
"

do_install() {
    install -d ${D}${systemd_system_unitdir}
    for unit in ${S}/units/*; do
        install -m 0644 "$unit" ${D}${systemd_system_unitdir}/
    done
    # The class that enables units does not take a name with a backslash in it.
    install -d ${D}${systemd_system_unitdir}/local-fs.target.wants
    for unit in 'var-lib-aquasmart\x2dupdate.mount' 'etc-NetworkManager-system\x2dconnections.mount'; do
        ln -s "../$unit" "${D}${systemd_system_unitdir}/local-fs.target.wants/$unit"
    done

    for script in ${S}/scripts/*; do
        install -D -m 0755 "$script" "${D}${libexecdir}/aquasmart/$(basename "$script")"
    done
    # Mount points of what outlives an image.
    install -d ${D}/data ${D}/boot/firmware

    install -D -m 0644 ${S}/etc/10-watchdog.conf ${D}${nonarch_libdir}/systemd/system.conf.d/10-aquasmart-watchdog.conf
    install -D -m 0644 ${S}/etc/10-journal.conf ${D}${nonarch_libdir}/systemd/journald.conf.d/10-aquasmart-journal.conf
    install -D -m 0644 ${S}/etc/aquasmart-own.network ${D}${nonarch_libdir}/systemd/network/10-aquasmart-own.network
    install -D -m 0644 ${S}/etc/aquasmart-own.link ${D}${nonarch_libdir}/systemd/network/10-aquasmart-own.link
    install -D -m 0644 ${S}/etc/network-manager.conf ${D}${nonarch_libdir}/NetworkManager/conf.d/10-aquasmart.conf
    install -D -m 0755 ${S}/etc/dispatcher-ntp ${D}${nonarch_libdir}/NetworkManager/dispatcher.d/20-aquasmart-ntp
    install -D -m 0644 ${S}/etc/61-aquasmart-usb.rules ${D}${nonarch_base_libdir}/udev/rules.d/61-aquasmart-usb.rules
    install -D -m 0644 ${S}/etc/sshd_config ${D}${nonarch_libdir}/aquasmart/sshd_config
    install -D -m 0644 ${S}/etc/provision.conf ${D}${systemd_system_unitdir}/aquasmart-provision.service.d/10-aquasmart.conf
    install -D -m 0644 ${S}/etc/sshd.socket.conf ${D}${systemd_system_unitdir}/sshd.socket.d/10-aquasmart.conf
    install -D -m 0644 ${S}/etc/sshd.service.conf ${D}${systemd_system_unitdir}/sshd@.service.d/10-aquasmart.conf
    # Ours is the only host key; openssh's own unit would make three more at each boot.
    install -d ${D}${sysconfdir}/systemd/system
    ln -s /dev/null ${D}${sysconfdir}/systemd/system/sshdgenkeys.service
    install -D -m 0644 ${S}/etc/nftables.conf ${D}${nonarch_libdir}/aquasmart/nftables.conf
    install -D -m 0644 ${S}/etc/chrony.conf ${D}${nonarch_libdir}/aquasmart/chrony.conf
    install -D -m 0440 ${S}/etc/sudoers ${D}${sysconfdir}/sudoers.d/aquasmart
    chmod 0750 ${D}${sysconfdir}/sudoers.d

    # The firewall and the clock's daemon are other recipes' own; what they read is named in a drop-in.
    install -d ${D}${systemd_system_unitdir}/chronyd.service.d
    printf '%s\n' '[Unit]' 'After=aquasmart-clock.service' '[Service]' 'ExecStart=' \
        'ExecStart=${sbindir}/chronyd -f ${nonarch_libdir}/aquasmart/chrony.conf' \
        >${D}${systemd_system_unitdir}/chronyd.service.d/10-aquasmart.conf

    # The USB gadget is a network card from the start.
    install -d ${D}${nonarch_libdir}/modules-load.d
    echo g_ether >${D}${nonarch_libdir}/modules-load.d/aquasmart-own.conf

    # What image this is; the station finds it as /etc/aquasmart/image.json.
    install -d ${D}${datadir}/aquasmart
    printf '{"version": "%s", "number": %s, "compatible": "%s"}\n' \
        '${AQUASMART_IMAGE_VERSION}' '${AQUASMART_BUNDLE_NUMBER}' '${AQUASMART_COMPATIBLE}' >${D}${datadir}/aquasmart/image.json

    # Where fw_setenv finds U-Boot's environment: two copies where U-Boot itself keeps two.
    printf '%s %s %s\n' '${AQUASMART_DISK}' '${AQUASMART_ENV_OFFSET}' '${AQUASMART_ENV_SIZE}' >${D}${sysconfdir}/fw_env.config
    if [ '${AQUASMART_ENV_COPIES}' = 2 ]; then
        printf '%s %s %s\n' '${AQUASMART_DISK}' '${AQUASMART_ENV_OFFSET_REDUND}' '${AQUASMART_ENV_SIZE}' >>${D}${sysconfdir}/fw_env.config
    fi
}

# fw_env.config is ours; the one that U-Boot's own package would bring does not know the two copies.
RPROVIDES:${PN} += "u-boot-default-env"
RCONFLICTS:${PN} += "u-boot-env"

FILES:${PN} += "\
    /data \
    /boot/firmware \
    ${nonarch_libdir} \
    ${nonarch_base_libdir}/udev \
    ${systemd_system_unitdir} \
    ${datadir}/aquasmart \
    ${libexecdir}/aquasmart \
"

RDEPENDS:${PN} += "\
    aquasmart-station \
    chrony \
    chronyc \
    e2fsprogs-e2fsck \
    e2fsprogs-resize2fs \
    libubootenv-bin \
    networkmanager \
    networkmanager-nmcli \
    nftables \
    openssh-keygen \
    openssh-sshd \
    pam-plugin-exec \
    python3-core \
    sudo \
    systemd \
    util-linux-findmnt \
    util-linux-mount \
    util-linux-mountpoint \
    util-linux-partx \
    util-linux-sfdisk \
"
