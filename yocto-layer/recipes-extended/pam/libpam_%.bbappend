# Who may sign in: see the file itself.
FILESEXTRAPATHS:prepend:aquasmart := "${THISDIR}/libpam:"
SRC_URI:append:aquasmart = " file://aquasmart-common-auth"

do_install:append:class-target:aquasmart() {
    install -m 0644 ${WORKDIR}/aquasmart-common-auth ${D}${sysconfdir}/pam.d/common-auth
}
