#!/bin/sh
# SPDX-License-Identifier: MIT
# Unpack and patch the source distributions; install them with their metadata and without their
# tests; compile those of the library's C libraries that need only its own sources, libc and Python;
# copy the notebooks to the user's directory. DisplayPort is not compiled, since it needs libdrm,
# nor are HDMI and MIPI on arm64, which need PYNQ's own build tree.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=$(echo "$ROOT"/usr/local/lib/python3.*/dist-packages)
patches=$(dirname "$0")/../patches
for archive in "$DOWNLOADS"/*.tar.gz; do
    name=$(basename "$archive" .tar.gz)
    project=${name%-*}
    tar -xzf "$archive" -C "$work" --no-same-owner --no-same-permissions \
        --exclude="$name/boards" --exclude=__pycache__ --exclude=tests --exclude=SOURCES.txt
    if [ "$project" = pynq ]; then
        library=$work/$name
        for patch in "$patches"/all/*.patch "$patches/${name#*-}"/*.patch; do
            patch -d "$library" -p1 --batch --fuzz=0 --no-backup-if-mismatch < "$patch"
        done
        install -m 0644 "$(dirname "$0")/../files/reference_clock.py" "$library/pynq"
    fi
    cp -r "$work/$name/$project" "$work/$name/$project.egg-info" "$packages"
    mv "$packages/$project.egg-info" "$packages/$name.egg-info"
done
rm -r "$packages/pynq/lib/_pynq" "$packages/pynq/notebooks"
for name in pynq:cmd pynq-get-notebooks:get_notebooks; do
    cat > "$ROOT/usr/local/bin/${name%:*}" <<END
#!/usr/bin/python3
import sys

from pynq._cli.${name#*:} import main

sys.exit(main())
END
    chmod 0755 "$ROOT/usr/local/bin/${name%:*}"
done

case $ARCH in
    armhf) machine=armv7l ;;
    arm64) machine=aarch64 ;;
esac
sources=$library/pynq/lib/_pynq
compile="${CROSS_COMPILE}gcc -O2 -g0 -w -ffile-prefix-map=$work=."
make -s -C "$sources/_xiic" PYNQ_BUILD_ARCH="$machine" CC="$compile"
# The files are C, despite their names and linkage of C++.
sed -i 's/extern "C" //' "$sources"/_audio/*.cpp
cd "$sources/_audio" || exit
$compile -shared -fPIC -o libaudio.so -x c audio_adau1761.cpp i2cps.c uio.c
libraries="$sources/_xiic/libiic.so $sources/_audio/libaudio.so"
if [ "$ARCH" = armhf ]; then
    # HDMI, as in the library's setup.py. Python's headers include architecture-specific ones from
    # the multiarch directory, where the cross compiler has only those of the C library.
    headers=$(echo "$ROOT"/usr/include/python3.*)
    triplet=arm-linux-gnueabihf
    mkdir -p "$work/include/$triplet"
    ln -s "$ROOT/usr/include/$triplet/$(basename "$headers")" "$work/include/$triplet"
    video=$sources/_video
    bsp=$sources/embeddedsw/lib/bsp/standalone/src
    $compile -shared -fPIC -o _video.so -I "$headers" -I "$work/include" \
        -I "$video" -I "$video/bsp/vtc" -I "$video/bsp/gpio" -I "$sources/common/armv7l" \
        -I "$bsp/common" -I "$bsp/arm/common" -I "$bsp/arm/common/gcc" -I "$bsp/arm/cortexa9" \
        "$video"/bsp/gpio/xgpio.c "$video"/bsp/gpio/xgpio_extra.c \
        "$video"/bsp/gpio/xgpio_intr.c "$video"/bsp/gpio/xgpio_selftest.c \
        "$video"/bsp/vtc/xvtc.c "$video"/bsp/vtc/xvtc_intr.c "$video"/bsp/vtc/xvtc_selftest.c \
        "$video"/_*.c "$video"/py_*.c "$video"/utils.c "$video"/video_*.c \
        "$sources/common/xil_stubs.c"
    libraries="$libraries $sources/_audio/_video.so"
fi
for file in $libraries; do
    "${CROSS_COMPILE}strip" "$file"
    install -m 0644 "$file" "$packages/pynq/lib"
done

place=$ROOT$(readlink "$ROOT/usr/local/share/pynq/notebooks")
mkdir -p "$place/common"
cp -r "$library/pynq/notebooks/common/." "$place/common"
chown -R --reference="$place" "$place/common"
