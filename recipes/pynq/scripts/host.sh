#!/bin/sh
# SPDX-License-Identifier: MIT
# Unpacks the source distributions with their metadata, compiles the libraries that are of the
# library's own sources and C alone, and gives the user its notebooks. Without its tests. Not
# compiled are Pynq-Z2's HDMI (it needs Python's headers for the target), DisplayPort (libdrm's), and
# on arm64 HDMI and MIPI, which do not compile without PYNQ's own build tree.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=$(echo "$ROOT"/usr/local/lib/python3.*/dist-packages)
for archive in "$DOWNLOADS"/*.tar.gz; do
    name=$(basename "$archive" .tar.gz)
    project=${name%-*}
    tar -xzf "$archive" -C "$packages" --strip-components=1 --no-same-owner --wildcards \
        --exclude='*/__pycache__' --exclude='*/tests' --exclude='*/SOURCES.txt' \
        --exclude='*/pynq/lib/_pynq' --exclude='*/pynq/notebooks' \
        "$name/$project" "$name/$project.egg-info"
    mv "$packages/$project.egg-info" "$packages/$name.egg-info"
done
for name in pynq:cmd pynq-get-notebooks:get_notebooks; do
    cat > "$ROOT/usr/local/bin/${name%:*}" <<END
#!/usr/bin/python3
import sys

from pynq._cli.${name#*:} import main

sys.exit(main())
END
    chmod 0755 "$ROOT/usr/local/bin/${name%:*}"
done

# It keeps the description of a design with pickle, which takes more levels than Python allows by
# itself. Notebooks have them, by the grace of jedi; programs shall have them too.
sed -i 's/^import pickle$/import pickle\nimport sys/
s/^\( *\)pickle\.dump(parser,/\1sys.setrecursionlimit(max(sys.getrecursionlimit(), 3000))\n&/' \
    "$packages/pynq/pl_server/embedded_device.py"
grep -q 'sys.setrecursionlimit' "$packages/pynq/pl_server/embedded_device.py"

# It computes all of its Clocks from a reference clock of 50 MHz on every Zynq-7000 and of 33.333 MHz on
# every Zynq UltraScale+. On a ZedBoard, which has 33.3 MHz, all were 1.5 times too high. The device
# tree has the board's own.
install -m 0644 "$(dirname "$0")/../files/reference_clock.py" "$packages/pynq"
sed -i 's/^import platform$/import platform\nfrom .reference_clock import reference_clock_mhz/
/^class _Clocks\(Zynq\|Ultrascale\)(/,/^ *def /s/\(DEFAULT_SRC_CLK_MHZ = \)\([0-9.]*\)$/\1reference_clock_mhz(\2)/' \
    "$packages/pynq/ps.py"
[ "$(grep -c reference_clock_mhz "$packages/pynq/ps.py")" = 3 ]

# Overlay("base") is Overlay("base.bit").
sed -i '/raise TypeError("Bitstream name has to be a string.")/a\
        if not os.path.splitext(bitfile_name)[1]:\
            bitfile_name += ".bit"' "$packages/pynq/bitstream.py"
grep -q 'bitfile_name += ".bit"' "$packages/pynq/bitstream.py"

tar -xzf "$DOWNLOADS"/pynq-[0-9]*.tar.gz -C "$work" --strip-components=1 --no-same-owner \
    --wildcards '*/pynq/lib/_pynq/*' '*/pynq/notebooks/common/*'
case $ARCH in
    armhf) machine=armv7l ;;
    arm64) machine=aarch64 ;;
esac
sources=$work/pynq/lib/_pynq
compile="${CROSS_COMPILE}gcc -O2 -g0 -w -ffile-prefix-map=$work=."
make -s -C "$sources/_xiic" PYNQ_BUILD_ARCH="$machine" CC="$compile"
# C but for its linkage, in files that are called C++.
sed -i 's/extern "C" //' "$sources"/_audio/*.cpp
cd "$sources/_audio" || exit
$compile -shared -fPIC -o libaudio.so -x c audio_adau1761.cpp i2cps.c uio.c
for library in "$sources/_xiic/libiic.so" libaudio.so; do
    "${CROSS_COMPILE}strip" "$library"
    install -m 0644 "$library" "$packages/pynq/lib"
done

place=$ROOT$(readlink "$ROOT/usr/local/share/pynq/notebooks")
mkdir -p "$place/common"
cp -r "$work/pynq/notebooks/common/." "$place/common"
chown -R --reference="$place" "$place/common"
