#!/bin/sh
# SPDX-License-Identifier: MIT
# Validated by hash, since files in an image get other times.
cd /usr/local/lib/python3.*/dist-packages || exit
python3 -m compileall -q --invalidation-mode checked-hash pynq pynqmetadata pynqutils < /dev/null

# For packages that users add. It includes the system's packages; the user owns it, so pip needs no
# root.
venv=/usr/local/share/pynq-venv
python3 -m venv --system-site-packages --without-pip "$venv" < /dev/null
for name in pip pip3; do
    sed "1s|.*|#!$venv/bin/python3|" /usr/bin/pip3 > "$venv/bin/$name"
    chmod 0755 "$venv/bin/$name"
done
notebooks=$(readlink /usr/local/share/pynq/notebooks)
chown -R --reference="$notebooks" "$venv"
