#!/bin/sh
# SPDX-License-Identifier: MIT
# By hash, not by time: the times of files in an image are not those of now.
cd /usr/local/lib/python3.*/dist-packages || exit
python3 -m compileall -q --invalidation-mode checked-hash pynq pynqmetadata pynqutils < /dev/null

# For what users add. It sees all that the image has; its owner is the user, so that pip needs no root.
venv=/usr/local/share/pynq-venv
python3 -m venv --system-site-packages --without-pip "$venv" < /dev/null
for name in pip pip3; do
    sed "1s|.*|#!$venv/bin/python3|" /usr/bin/pip3 > "$venv/bin/$name"
    chmod 0755 "$venv/bin/$name"
done
notebooks=$(readlink /usr/local/share/pynq/notebooks)
chown -R --reference="$notebooks" "$venv"
