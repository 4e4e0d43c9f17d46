#!/bin/bash
# Mutation testing of both pure cores: how many deliberate faults the unit tests and the contract vectors notice.
# A reported figure, not a gate: build/mutation.json, and a line a package.
#
#   MODULES="pricing ledger"   only these core modules (names without .py); the file names what was tested
#   RESUME=1                   go on with what an interrupted run has left, if the sources are still the same
#   CHILDREN=2                 how many mutants are tested at once; default: one a core
#
# Each package gets a workspace of its own in build/mutation, laid out as mutmut wants it: src/ and tests/.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
bin=$repository/.venv/bin
children=${CHILDREN:-$(nproc)}
MEMORY_MIB=2048

prepare() { # NAME → a fresh workspace with the package, its own unit tests and its contract tests
  local work=build/mutation/$1
  [ -n "${RESUME:-}" ] && [ -d "$work/mutants" ] && return
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
  prepare "$1" || return 1
  workspaces+=("build/mutation/$1")
  echo "mutation: $1 core, $([ ${#patterns[@]} -eq 0 ] && echo "all of it" || echo "${patterns[*]}")"
  (
    cd "$repository/build/mutation/$1" || exit 1
    # A mutant may allocate without end; it must meet its own limit before it meets the machine's.
    ulimit -v $((MEMORY_MIB * 1024))
    env -u AQUASMART_REQUIRE PYTHONDONTWRITEBYTECODE=1 "$bin/mutmut" run --max-children "$children" "${patterns[@]}" \
      >mutmut.log 2>&1 || { tr '\r' '\n' <mutmut.log | tail -20; exit 1; }
  )
}

mkdir -p build
began=$SECONDS
status=0
workspaces=()
mutate station aquasmart_station || status=1
mutate cloud aquasmart_cloud || status=1
"$bin/python" -m tests.mutation_report build/mutation.json "${workspaces[@]}"
echo "mutation: $((SECONDS - began)) s"
exit $status
