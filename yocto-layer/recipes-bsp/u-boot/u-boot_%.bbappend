# Every line is gated by the distribution and the kind of board: another distribution's U-Boot stays as it was.
FILESEXTRAPATHS:prepend:aquasmart := "${THISDIR}/files:"

SRC_URI:append:aquasmart = " file://aquasmart-boot.cfg"
SRC_URI:append:rpi:aquasmart = " file://aquasmart-env-mmc.cfg"
SRC_URI:append:beaglebone-yocto:aquasmart = " file://aquasmart-env-mmc.cfg"
SRC_URI:append:qemuall:aquasmart = " file://aquasmart-env-virtio.cfg"
