FILESEXTRAPATHS:prepend:aquasmart := "${THISDIR}/files:${THISDIR}/../../../../recipes-kernel/linux/files:"

SRC_URI:append:aquasmart = " file://aquasmart.cfg file://aquasmart-rpi.cfg"
