#!/bin/sh
# SPDX-License-Identifier: MIT
# Remove the files that dpkg is configured to exclude.
cd "$ROOT/usr/share" || exit
for place in info lintian man; do
    [ ! -d "$place" ] || find "$place" ! -type d -delete
done
find doc ! -type d ! -name copyright -delete
find locale ! -type d ! -name locale.alias -delete
for place in doc info lintian locale man; do
    [ ! -d "$place" ] || find "$place" -mindepth 1 -type d -empty -delete
done
