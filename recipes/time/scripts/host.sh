#!/bin/sh
# SPDX-License-Identifier: MIT
# The first boot starts with the image's time, not with that of the package's installation.
date -u -d "@$SOURCE_DATE_EPOCH" '+%Y-%m-%d %H:%M:%S' >"$ROOT/etc/fake-hwclock.data"
