#!/bin/sh
# SPDX-License-Identifier: MIT
# The first boot starts with the time of the image, not with the time of the installation.
date -u -d "@$SOURCE_DATE_EPOCH" '+%Y-%m-%d %H:%M:%S' >"$ROOT/etc/fake-hwclock.data"
