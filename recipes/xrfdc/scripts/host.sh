#!/bin/sh
# SPDX-License-Identifier: MIT
# Cross-compile libmetal and librfdc from AMD's sources against the image's C library.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Extract only the necessary parts; the archive is large.
tar -xzf "$DOWNLOADS"/xilinx-embeddedsw-*.tar.gz -C "$work" --strip-components=1 --wildcards \
    --no-same-owner --no-same-permissions \
    '*/license.txt' \
    '*/XilinxProcessorIPLib/drivers/rfdc/src/*' \
    '*/ThirdParty/sw_services/libmetal/src/libmetal/*'

map="-O2 -g0 -ffile-prefix-map=$work=."
cmake -S "$work/ThirdParty/sw_services/libmetal/src/libmetal" -B "$work/metal" \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_C_COMPILER="${CROSS_COMPILE}gcc" -DCMAKE_SYSROOT="$ROOT" -DCMAKE_C_FLAGS="$map" \
    -DCMAKE_LIBRARY_ARCHITECTURE=aarch64-linux-gnu \
    -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY \
    -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY -DCMAKE_INSTALL_PREFIX=/usr/local \
    -DCMAKE_BUILD_TYPE=None -DWITH_DOC=OFF -DWITH_TESTS=OFF -DWITH_EXAMPLES=OFF -DWITH_STATIC_LIB=OFF
cmake --build "$work/metal"
DESTDIR="$ROOT" cmake --install "$work/metal"

cd "$work/XilinxProcessorIPLib/drivers/rfdc/src" || exit
make -f Makefile.Linux CC="${CROSS_COMPILE}gcc --sysroot=$ROOT" \
    CFLAGS="$map -I$ROOT/usr/local/include" LDFLAGS="-L$ROOT/usr/local/lib"
cp -P librfdc.so* "$ROOT/usr/local/lib/"
install -m 0644 xrfdc.h xrfdc_hw.h "$ROOT/usr/local/include/"
install -D -m 0644 "$work/license.txt" "$ROOT/usr/local/share/doc/librfdc/license.txt"
ldconfig -r "$ROOT"
