#!/bin/sh
# RAUC's pre-install handler: runs after a bundle's signature has been verified and before a slot is written, whoever
# asked for the installation. What `aquasmart update install` refuses for good is refused here once more, so that a plain
# `rauc install` is no way around it:
#   - a bundle whose number is older than the highest that was ever marked good here, or than the present image's own;
#   - any bundle while the present image is on trial, since the slot to be written is its way back.
# Plain shell: it must work in an image whose Python does not. `$1`: another root than /, for tests.
set -u
root=${1:-}
state=$root/var/lib/aquasmart-update
runtime=$root/run/aquasmart-update

refuse() {
  # Both: RAUC's log has standard error, and RAUC hands on what follows "<< error" to who asked.
  echo "<< error $*"
  echo "aquasmart: $*" >&2
  exit 1
}

# A number of one to nine digits, without leading zeros (some shells read those as octal); nothing where it is none.
digits() {
  sed -n 's/^[^0-9]*0*\([1-9][0-9]\{0,8\}\)[^0-9]*$/\1/p' | head -n 1
}

manifest=${RAUC_BUNDLE_MOUNT_POINT:-${RAUC_UPDATE_SOURCE:-}}/manifest.raucm
[ -r "$manifest" ] || refuse "the bundle has no manifest that can be read"
number=$(sed -n '/^\[update\]/,/^\[[^u]/s/^build *= *//p' "$manifest" | digits)
[ -n "$number" ] || refuse "the bundle's manifest has no build=N, a positive number of nine digits at most"

good=$(digits 2>/dev/null <"$state/highest-good") || good=
present=$(sed -n 's/.*\("number"\) *: *\([0-9]*\).*/\2/p' "$root/etc/aquasmart/image.json" 2>/dev/null | digits)
for floor in "${good:-0}" "${present:-0}"; do
  [ "$number" -ge "$floor" ] || refuse "bundle $number is older than $floor, which has run here: there is no way back"
done

words=" $(cat "$root/proc/cmdline" 2>/dev/null) $(tr '\0' ' ' <"$root/proc/1/cmdline" 2>/dev/null) "
case $words in
*" aquasmart.trial="*)
  [ -e "$runtime/good" ] || refuse "the present image is on trial: the other slot is its way back"
  ;;
esac
exit 0
