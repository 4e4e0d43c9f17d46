# What the boot script and RAUC agree on about a slot's counter, BOOT_A_LEFT and BOOT_B_LEFT in U-Boot's environment.
#
#   AQUASMART_BOOT_GOOD   the slot is good: started without counting, so nothing is written at an ordinary boot
#   AQUASMART_BOOT_TRIES  a fresh slot has so many tries; each boot of it takes one away, before the kernel is loaded
#   0                     given up, empty, or being written
#
# One digit each: RAUC writes the counter in hexadecimal and U-Boot compares it as text.
inherit aquasmart-ab
AQUASMART_BOOT_GOOD = "9"
