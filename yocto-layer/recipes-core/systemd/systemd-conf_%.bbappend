# NetworkManager has the WAN; networkd only the station's own USB network. Its general rule for every cable goes.
PACKAGECONFIG:remove:aquasmart = "dhcp-ethernet"
