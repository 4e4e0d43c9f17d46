SUMMARY = "AquaSmart's station for the desk: with a root shell, and tests on the board"
DESCRIPTION = "The field's image with debugging in it. Never for the field: root has no password."

require aquasmart-image.inc

IMAGE_FEATURES += "debug-tweaks ptest-pkgs tools-debug"
IMAGE_INSTALL += "aquasmart-station-ptest ptest-runner strace"
# No slot bound to fit: the desk's card is flashed, not updated.
IMAGE_ROOTFS_MAXSIZE = ""
