SUMMARY = "Everything a station's image holds beyond the base"
DESCRIPTION = "The station's services, its appliance parts and what updates need."

# Names of packages that other recipes rename by ABI are in here.
PACKAGE_ARCH = "${TUNE_PKGARCH}"

inherit packagegroup

RDEPENDS:${PN} = "\
    aquasmart-config \
    aquasmart-station \
    kernel-image \
    kernel-devicetree \
    kernel-modules \
    modemmanager \
    networkmanager \
    networkmanager-nmcli \
    networkmanager-wifi \
    networkmanager-wwan \
    rauc \
    rauc-service \
    virtual-rauc-conf \
    tzdata-core \
    util-linux-agetty \
    wireless-regdb-static \
"
