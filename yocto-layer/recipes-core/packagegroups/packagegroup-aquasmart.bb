SUMMARY = "Everything a station's image holds beyond the base"
DESCRIPTION = "The station's services, its appliance parts and what updates need."

# Names of packages that other recipes rename by ABI are in here.
PACKAGE_ARCH = "${TUNE_PKGARCH}"

inherit packagegroup

RDEPENDS:${PN} = "\
    aquasmart-config \
    aquasmart-station \
    kernel-devicetree \
    kernel-image \
    kernel-modules \
    modemmanager \
    networkmanager \
    networkmanager-nmcli \
    networkmanager-wifi \
    networkmanager-wwan \
    rauc \
    rauc-service \
    tzdata-core \
    util-linux-agetty \
    virtual-rauc-conf \
    wireless-regdb-static \
"
