"""Power cuts: a machine that loses its power, its memory and its drive's cache while the real reader counts."""
