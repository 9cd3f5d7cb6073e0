#!/bin/sh
# SPDX-License-Identifier: MIT
# Puts a board's designs where Overlay("base.bit") looks, and their notebooks into the user's
# directory, all out of the library's source distribution.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$DOWNLOADS"/pynq-*.tar.gz -C "$work" --strip-components=1 --no-same-owner --wildcards \
    --exclude='*.tcl' "*/boards/$PARAM_BOARD/*" '*/pynq/notebooks/common/*' || {
    echo "the library has no designs for a board $PARAM_BOARD" >&2
    exit 1
}
overlays=$(echo "$ROOT"/usr/local/lib/python3.*/dist-packages/pynq/overlays)
place=$ROOT$(readlink "$ROOT/usr/local/share/pynq/notebooks")
add() { # notebooks, and the name of their directory
    mkdir -p "$place/$2"
    cp -r "$1"/. "$place/$2"
    chown -R --reference="$place" "$place/$2"
}
cd "$work/boards/$PARAM_BOARD" || exit
for design in */*.bit; do
    name=$(dirname "$design")
    [ ! -d "$name/notebooks" ] || add "$name/notebooks" "$name"
    rm -rf "$name/notebooks"
    cp -r "$name" "$overlays"
done
for folder in notebooks/*/; do
    add "$folder" "$(basename "$folder")"
done
add "$work/pynq/notebooks/common" common
