#!/usr/bin/env bash
# The source archive is complete: a wheel made from it alone, in another folder, can be imported.
#   bash packaging/check_sdist.sh [PYTHON]
set -euo pipefail

python=${1:-python3}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/tools"
"$folder/tools/bin/pip" install --quiet build twine
"$folder/tools/bin/python" -m build --sdist --outdir "$folder" "$checkout"
"$folder/tools/bin/twine" check --strict "$folder"/fastnn-*.tar.gz
# Only files that git tracks, and the metadata.
tar -tzf "$folder"/fastnn-*.tar.gz | sed 's|^[^/]*/||' | grep -v '^PKG-INFO$' | sort >"$folder/packed"
git -C "$checkout" ls-files | sort | comm -13 - "$folder/packed" | tee "$folder/untracked"
[ ! -s "$folder/untracked" ]

"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$folder"/fastnn-*.tar.gz
cd "$folder"
venv/bin/fastnn info
