# Modems as well; no second DHCP or DNS server in an image that has systemd's.
PACKAGECONFIG:append:aquasmart = " modemmanager ppp"
PACKAGECONFIG:remove:aquasmart = "ifupdown dnsmasq vala"
