#!/usr/bin/env bash
# Tests a wheel as a user gets it: its platform, its libraries' hardening, its size and import time; then the test suite,
# in a new environment without a compiler on the path and away from the checkout's package.
#   bash packaging/check_wheel.sh WHEEL [PYTHON]
set -euo pipefail

wheel=$(readlink -f "$1")
python=${2:-python3}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/tools"
"$folder/tools/bin/pip" install --quiet auditwheel twine
"$folder/tools/bin/twine" check --strict "$wheel"
"$folder/tools/bin/auditwheel" show "$wheel" | tee "$folder/show"
# "manylinux_2_17" and the like are fine too
grep -qE '"manylinux_2_(1[0-9]|2[0-8])_' "$folder/show"

"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "${wheel}[test]"
package=$("$folder/venv/bin/python" -c 'import fastnn; print(fastnn.__path__[0])')
for library in "$package"/_core.*.so "$package"/metrics/_rows.*.so; do
    readelf --dynamic "$library" | grep BIND_NOW
    readelf --segments --wide "$library" | grep GNU_RELRO
    readelf --segments --wide "$library" | grep GNU_STACK | grep "RW "
done

du --bytes "$wheel"
du --bytes --summarize "$package"
for _ in 1 2 3 4 5; do
    "$folder/venv/bin/python" -c 'import numpy, time; t = time.perf_counter(); import fastnn; print(f"import: {1e3 * (time.perf_counter() - t):.1f} ms")'
done

(cd "$checkout" && git ls-files -z | grep -zv '^src/' | tar --null --files-from=- -cf -) | tar -xf - -C "$folder/venv"
cd "$folder/venv"
# test_floors reads the sources of the package, which a wheel does not have.
PATH="$folder/venv/bin" python -m pytest -q --ignore=tests/test_floors.py
