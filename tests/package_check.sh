#!/bin/bash
# Installs each package alone, from its own wheel and its own pinned requirements, and imports all of it. What it does
# not declare is not there, so an accidental dependency on the other package, or on a test's library, shows.
# Wheels of the requirements are kept in build/wheels: the second run needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pip_for PYTHON ARGUMENTS…: the environment's own pip would cost seconds to install; ours can serve any interpreter.
pip_for() { "$python" -m pip --quiet --disable-pip-version-check --python "$@"; }

collect_wheels() { # NAME → the folder with every wheel that requirements/NAME.txt pins
  local folder fresh
  folder=build/wheels/$1-$(sha256sum "requirements/$1.txt" | cut -c1-16)
  if [ ! -d "$folder" ]; then
    fresh=$(mktemp -d build/wheels/new-XXXXXX)
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --require-hashes \
      -r "requirements/$1.txt" -w "$fresh"
    rm -rf build/wheels/"$1"-*
    mv "$fresh" "$folder"
  fi
  echo "$folder"
}

check() { # NAME MODULE OTHER COMMAND [EXTRA]: alone its command must work, with its extra every module
  local wheels venv=$work/$1 source=$work/$1-source
  wheels=$(collect_wheels "$1")
  # Built from a copy of what belongs to the package, so that nothing lying about in build/ or an egg-info counts.
  mkdir -p "$source" "$work/$1-wheel"
  tar -C "$1" --exclude='*.egg-info' --exclude=__pycache__ --exclude=./build -cf - . | tar -C "$source" -xf -
  "$python" -m pip wheel --quiet --disable-pip-version-check --no-index --no-build-isolation --no-deps "$source" -w "$work/$1-wheel"
  "$python" -m venv --without-pip "$venv"
  pip_for "$venv/bin/python" install --no-index --no-deps "$wheels"/*.whl "$work/$1-wheel"/*.whl
  (cd "$work" && "$venv/bin/$4" --help >/dev/null) || { echo "package-check: $4 --help failed"; return 1; }
  if [ -n "${5:-}" ]; then
    wheels=$(collect_wheels "$5")
    pip_for "$venv/bin/python" install --no-index --no-deps "$wheels"/*.whl
  fi
  # What the package declares must be satisfied by what is pinned.
  pip_for "$venv/bin/python" check
  (cd "$work" && "$venv/bin/python" -I -W error - "$2" "$3" <"$OLDPWD/tests/import_all.py")
}

mkdir -p build/wheels
check station aquasmart_station aquasmart_cloud aquasmart panel
check cloud aquasmart_cloud aquasmart_station aquasmart-cloud
# The catalogues of translations are in the wheel: words are looked up in its own files, whatever locales this machine has.
said=$(cd "$work" && LANGUAGE='' LC_ALL=es_ES.UTF-8 "$work/station/bin/python" -I "$work/station/bin/aquasmart" --help)
[[ $said == *Órdenes* ]] || { echo "package-check: the station's wheel does not speak Spanish"; exit 1; }
