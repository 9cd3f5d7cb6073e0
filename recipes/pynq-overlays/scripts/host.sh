#!/bin/sh
# SPDX-License-Identifier: MIT
# Install PL designs where Overlay("base") and pynq.overlays.base find them, and their notebooks in
# the user's directory: first the library's designs for this board, from its source distribution,
# then the board's own, which replace them.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
overlays=$(echo "$ROOT"/usr/local/lib/python3.*/dist-packages/pynq/overlays)
place=$ROOT$(readlink "$ROOT/usr/local/share/pynq/notebooks")

add_notebooks() { # directory, and its name in the user's directory
    mkdir -p "$place/$2"
    cp -r "$1"/. "$place/$2"
    chown -R --reference="$place" "$place/$2"
}

add_design() { # directory
    name=$(basename "$1")
    rm -rf "${overlays:?}/$name"
    cp -r "$1" "$overlays"
    rm -rf "$overlays/$name/notebooks"
    chown -R 0:0 "$overlays/$name"
    find "$overlays/$name" -type d -exec chmod 0755 '{}' + -o -exec chmod 0644 '{}' +
    [ ! -d "$1/notebooks" ] || add_notebooks "$1/notebooks" "$name"
}

model=${PARAM_BOARD:-$BOARD}
members="*/boards/$model/*"
if ! said=$(LC_ALL=C tar -xzf "$DOWNLOADS"/pynq-*.tar.gz -C "$work" --strip-components=1 \
    --no-same-owner --no-same-permissions --exclude='*.tcl' --wildcards "$members" 2>&1); then
    # The only accepted failure: the archive has no files for this board.
    [ "$said" = "tar: $members: Not found in archive
tar: Exiting with failure status due to previous errors" ] || {
        echo "$said" >&2
        exit 1
    }
    [ -z "$PARAM_BOARD" ] || {
        echo "the library has no designs for the board $model" >&2
        exit 1
    }
fi
board=$work/boards/$model
for bitstream in "$board"/*/*.bit; do
    [ ! -f "$bitstream" ] || add_design "$(dirname "$bitstream")"
done
for folder in "$board"/notebooks/*/; do
    [ ! -d "$folder" ] || add_notebooks "$folder" "$(basename "$folder")"
done

for design in "${OVERLAYS:-/nonexistent}"/*/; do
    [ ! -d "$design" ] || add_design "${design%/}"
done
[ -z "${NOTEBOOKS:-}" ] || add_notebooks "$NOTEBOOKS" .

boot=$(tr -d '[:space:]' < "$ROOT/etc/pynq/boot-overlay")
[ -z "$boot" ] || [ -f "$overlays/$boot/$boot.bit" ] || [ -f "$overlays/$boot/$boot.pdi" ] || {
    echo "boot-overlay: no design has $boot/$boot.bit; there are: $(ls "$overlays")" >&2
    exit 1
}
