#!/bin/bash
# Mutation testing of both pure cores: how many deliberate faults the unit tests and the contract vectors notice.
# A reported figure, not a gate: build/mutation.json, and a line a package.
#
#   MODULES="pricing ledger"   only these core modules (names without .py); the file names what was tested
#   CHILDREN=2                 how many mutants are tested at once; default: one a core
#
# Each package gets a workspace of its own in build/mutation, laid out as mutmut wants it: src/ and tests/.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
bin=$repository/.venv/bin
children=${CHILDREN:-$(nproc)}

prepare() { # NAME MODULE → a fresh workspace with the package, its own unit tests and its contract tests
  local work=build/mutation/$1
  rm -rf "$work"
  mkdir -p "$work/tests/unit"
  cp -r "$1/src" "$work/src"
  cp -r "tests/unit/$1" "$work/tests/unit/$1"
  cp -r tests/contract "$work/tests/contract"
  find "$work/tests/contract" -name 'test_*.py' ! -name "test_$1_*.py" -delete
  cp tests/conftest.py tests/capabilities.py "$work/tests/"
  cp pyproject.toml "$work/"
  find "$work" -name __pycache__ -prune -exec rm -rf {} +
}

mutate() { # NAME MODULE
  local patterns=() name
  for name in ${MODULES:-}; do
    [ -e "$1/src/$2/core/$name.py" ] && patterns+=("$2.core.$name.*")
  done
  if [ -n "${MODULES:-}" ] && [ ${#patterns[@]} -eq 0 ]; then
    echo "mutation: no module of $1's core is chosen"
    return
  fi
  prepare "$1"
  echo "mutation: $1 core, $([ ${#patterns[@]} -eq 0 ] && echo "all of it" || echo "${patterns[*]}")"
  (
    cd "$repository/build/mutation/$1"
    # What a mutant does when nothing notices it must not be inherited from the caller's environment.
    env -u AQUASMART_REQUIRE PYTHONDONTWRITEBYTECODE=1 "$bin/mutmut" run --max-children "$children" "${patterns[@]}" \
      >mutmut.log 2>&1 || { tail -40 mutmut.log; exit 1; }
  )
}

mkdir -p build
began=$SECONDS
mutate station aquasmart_station
mutate cloud aquasmart_cloud
"$bin/python" -m tests.mutation_report build/mutation build/mutation.json
echo "mutation: $((SECONDS - began)) s"
