"""`make image-smoke`: an image's whole life on an emulated board, by nothing but what a technician has at a station.

The card, its boot partition, a USB stick, a meter on a serial adapter, and the serial line with the restricted shell.
It looks at no file of the running station and needs no test's hand in it, so the very image for the field is tried.
"""
