SUMMARY = "AquaSmart's station: the image for the field"
DESCRIPTION = "Read-only root in two slots, a data partition, no password, no debugging."

require aquasmart-image.inc

IMAGE_FEATURES:remove = "debug-tweaks"
