#!/bin/bash
# The layer on real checkouts of the layers it builds on: parse, graph, dry run, compliance, our own recipes' tasks. Nothing
# is downloaded, nothing is compiled for the target. One machine a call; `python -m tests.yocto` calls it for each.
#
#   check-layer.sh MACHINE        ROOT=folder with poky, meta-openembedded, meta-rauc, meta-raspberrypi at scarthgap
#
# WORK (ROOT/check) takes what it makes; STAGES, of "parse env graph dryrun recipes checklayer"; RECIPES for stage recipes;
# HV a venv with build, setuptools, wheel, installer for it; BBUSER who runs bitbake where root calls (bitbake refuses root).
# LEAN=1 (the default) hides what of meta-openembedded no image of ours uses: parsing takes a third of the time.
set -u
here=$(dirname "$(readlink -f "$0")")
LAYER=$(readlink -f "$here/../../yocto-layer")
MACHINE=${1:?which machine}
ROOT=$(readlink -f "${ROOT:?a folder with poky, meta-openembedded, meta-rauc and meta-raspberrypi}")
WORK=${WORK:-$ROOT/check} BBUSER=${BBUSER:-yprobe} LEAN=${LEAN:-1} HV=${HV:-$WORK/hv}
IMAGES=${IMAGES:-aquasmart-image aquasmart-image-dev}
STAGES=${STAGES:-parse env graph dryrun recipes checklayer}
RECIPES=${RECIPES:-aquasmart-station aquasmart-config}
KEEP='python3-(pyserial|sdnotify|flask|werkzeug|blinker|itsdangerous|waitress|rich|click|gpiod|systemd|setuptools-scm|simplejson)|chrony|nftables|libnftnl|networkmanager|modemmanager|libmbim|libqmi|libqrtr|libndp|libnvme|nss|nspr|jansson|mobile-broadband|libnewt|libedit|editline|pps-tools|fuse|squashfs|nlohmann|libgpiod|dnsmasq|polkit|mozjs|ppp'

if [ "$(id -u)" = 0 ]; then
    getent passwd "$BBUSER" >/dev/null || { echo "bitbake refuses root: useradd --create-home $BBUSER, or BBUSER=somebody" >&2; exit 2; }
    mkdir -p "$WORK" && chown "$BBUSER": "$WORK"
    exec runuser -u "$BBUSER" -- env HOME="$WORK" ROOT="$ROOT" WORK="$WORK" LEAN="$LEAN" HV="$HV" IMAGES="$IMAGES" STAGES="$STAGES" \
        RECIPES="$RECIPES" bash "$here/check-layer.sh" "$MACHINE"
fi

export LANG=en_US.UTF-8 LC_ALL=en_US.UTF-8 PATH=$here/hosttools:$PATH:/usr/sbin:/sbin HV
build=$WORK/build-$MACHINE foreign=$WORK/build-foreign-$MACHINE oe=$ROOT/meta-openembedded
core="$ROOT/poky/meta $ROOT/poky/meta-poky $ROOT/poky/meta-yocto-bsp"
boards="$ROOT/meta-rauc"
case $MACHINE in raspberrypi*) boards="$boards $ROOT/meta-raspberrypi" ;; esac
others="$oe/meta-oe $oe/meta-python $oe/meta-networking $boards"
mkdir -p "$build/conf" "$foreign/conf"

configuration() { # distro
    cat <<C
MACHINE ?= "$MACHINE"
DISTRO ?= "$1"
PACKAGE_CLASSES = "package_ipk"
BB_NO_NETWORK = "1"
CONNECTIVITY_CHECK_URIS = ""
SANITY_TESTED_DISTROS = ""
DL_DIR = "$WORK/downloads"
SSTATE_DIR = "$WORK/sstate"
CONF_VERSION = "2"
BB_DISKMON_DIRS = ""
BB_NUMBER_PARSE_THREADS = "2"
LICENSE_FLAGS_ACCEPTED += "synaptics-killswitch"
INHERIT:remove = "uninative"
C
    # What the layer's own distribution says itself; here for the official check, which brings poky.
    [ "$1" = aquasmart ] || printf 'INIT_MANAGER = "systemd"\nDISTRO_FEATURES:append = " rauc pam"\n'
    [ "$LEAN" = 1 ] || return 0
    cat <<C
BB_DANGLINGAPPENDS_WARNONLY = "1"
BBMASK += "/meta-openembedded/meta-[a-z]+/(recipes|dynamic-layers)(?!.*/($KEEP)[^/]*/?[^/]*\$)"
C
    for layer in openembedded-layer meta-python networking-layer rauc raspberrypi; do
        echo "EXCLUDE_FROM_WORLD:layer-$layer = \"1\""
    done
}

layers() {
    printf 'POKY_BBLAYERS_CONF_VERSION = "2"\nBBPATH = "${TOPDIR}"\nBBFILES ?= ""\nBBLAYERS ?= " \\\n'
    printf '  %s \\\n' "$@"
    printf '"\n'
}

# shellcheck disable=SC2086
{
    configuration aquasmart >"$build/conf/local.conf"
    layers $core $others "$LAYER" >"$build/conf/bblayers.conf"
}
sed "s,@TOOLS@,$here/hosttools,g; s,@HV@,$HV,g" "$here/hostinstall.conf.in" >"$WORK/hostinstall.conf"

within() { # build folder, command...
    local folder=$1
    shift
    (cd "$ROOT/poky" && set +u && . ./oe-init-build-env "$folder" >/dev/null && "$@")
}

failed=0
stage() { # name, command...
    local name=$1 began=$SECONDS code verdict
    shift
    case " $STAGES " in *" $name "*) ;; *) return ;; esac
    "$@" >"$WORK/$name-$MACHINE.log" 2>&1
    code=$?
    # An append of ours that fits no recipe must not hide behind the warning that LEAN needs.
    if tr '\r' '\n' <"$WORK/$name-$MACHINE.log" |
        awk '/No recipes in .* available for/ {list = 1; next} !/^  / {list = 0} list' | grep -q "$LAYER"; then code=90; fi
    verdict=PASS
    [ "$code" = 0 ] || { verdict="FAIL($code)"; failed=1; }
    printf '%-11s %-9s %4s s  %s\n' "$name" "$verdict" $((SECONDS - began)) "$WORK/$name-$MACHINE.log"
    [ "$code" = 0 ] || tr '\r' '\n' <"$WORK/$name-$MACHINE.log" | grep -E '^ERROR|FAIL|^\|' | cut -c1-250 | tail -15
}

graphs() {
    local image
    for image in $IMAGES; do within "$build" bitbake -g "$image" || return 1; done
}

environment() {
    # The first image's variables stay for wic: $WORK/env-$MACHINE.log.
    within "$build" bitbake -e "${IMAGES%% *}"
}

own_tasks() {
    local name file task
    for name in $RECIPES; do
        file=$(find "$LAYER" -name "${name}_*.bb" -o -name "$name.bb" | head -1)
        [ -n "$file" ] || { echo "ERROR: no recipe $name"; return 1; }
        for task in cleansstate unpack install package packagedata package_qa; do
            within "$build" bitbake -R "$WORK/hostinstall.conf" -b "$file" -c "$task" || return 1
        done
    done
    ! find "$build"/tmp/work/*/ -path '*/temp/log.do_package_qa' -exec grep -h 'ERROR: QA' {} +
}

compliance() {
    rm -f "$foreign/conf/bblayers.conf.backup"
    configuration poky >"$foreign/conf/local.conf"
    # shellcheck disable=SC2086
    layers $core $boards >"$foreign/conf/bblayers.conf"
    # shellcheck disable=SC2086
    within "$foreign" yocto-check-layer -n --no-auto-dependency --machines "$MACHINE" --dependency $others -- "$LAYER"
}

stage parse within "$build" bitbake -p
stage env environment
stage graph graphs
# One process for each of 6,000 tasks: the first image only.
stage dryrun within "$build" bitbake -n "${IMAGES%% *}"
stage recipes own_tasks
stage checklayer compliance
exit $failed
