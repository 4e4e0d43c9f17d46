SUMMARY = "AquaSmart update: the station's image as a signed bundle"
DESCRIPTION = "One root file system with its kernel, for whichever slot does not run. Signed with RAUC_KEY_FILE and \
RAUC_CERT_FILE, which lie outside the tree; its number (build=) only grows."
LICENSE = "Apache-2.0"

inherit aquasmart-ab bundle

RAUC_BUNDLE_COMPATIBLE = "${AQUASMART_COMPATIBLE}"
RAUC_BUNDLE_VERSION = "${AQUASMART_IMAGE_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "AquaSmart station ${AQUASMART_IMAGE_VERSION}, number ${AQUASMART_BUNDLE_NUMBER}"
RAUC_BUNDLE_BUILD = "${AQUASMART_BUNDLE_NUMBER}"
# The whole payload is under a hash tree whose root is signed: every block is checked when it is read.
RAUC_BUNDLE_FORMAT = "verity"

RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "aquasmart-image"
RAUC_SLOT_rootfs[fstype] = "ext4"
RAUC_SLOT_rootfs[rename] = "rootfs.ext4"

# A task of the class's, in Python; the number is asked for before anything is made with it.
python do_configure:prepend() {
    number = d.getVar("AQUASMART_BUNDLE_NUMBER") or ""
    if not (number.isdigit() and 0 < int(number) < 1000000000):
        bb.fatal("AQUASMART_BUNDLE_NUMBER is %r: it must be a positive integer of nine digits at most, larger than that of "
                 "every bundle before" % number)
}
