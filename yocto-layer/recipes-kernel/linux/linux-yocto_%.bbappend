FILESEXTRAPATHS:prepend:aquasmart := "${THISDIR}/files:"

SRC_URI:append:aquasmart = " file://aquasmart.cfg"
SRC_URI:append:beaglebone-yocto:aquasmart = " file://aquasmart-bbb.cfg"
SRC_URI:append:qemuall:aquasmart = " file://aquasmart-qemu.cfg"
