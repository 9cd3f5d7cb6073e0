#!/bin/sh
# SPDX-License-Identifier: MIT
case "$PARAM_LOCALE" in
C | C.* | POSIX) ;; # part of libc
*) locale-gen ;;
esac
