#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what builds need and this machine lacks: host packages, a virtual environment from the
# locked requirements, and qemu-user for the boards' programs. A second run does nothing.
#
# With the argument `docker`, or `auto` where a Docker daemon answers, it only creates the virtual
# environment: containers provide the rest.
set -eu
cd "$(dirname "$0")/.."
engine=${1:-host}
if [ "$engine" = auto ]; then
    if docker info > /dev/null 2>&1; then engine=docker; else engine=host; fi
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    command -v apt-get > /dev/null || {
        echo "setup: apt-get is missing. Install the equivalents of these packages by hand:$missing" >&2
        exit 4
    }
    echo "setup: installing host packages:$missing"
    as_root apt-get update -q
    for package in $optional; do
        if apt-cache show "$package" > /dev/null 2>&1; then missing="$missing $package"; fi
    done
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $missing
}

missing=
optional=
while read -r package mark _; do
    case $package in '' | '#'*) continue ;; esac
    case $mark in
        /*) [ ! -e "$mark" ] || continue ;;
        *) ! PATH="$PATH:/usr/sbin:/sbin" command -v "$mark" > /dev/null || continue ;;
    esac
    case $package in
        *\?) optional="$optional ${package%?}" ;;
        *) missing="$missing $package" ;;
    esac
done < builder/engine/packages.txt
if [ "$engine" != host ]; then missing='' optional=''; fi
python=$(command -v python3 || true)
if [ -z "$python" ] || ! "$python" -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 10)' 2> /dev/null; then
    missing="$missing python3 python3-venv"
fi
# Optional packages are installed if apt already knows them; they do not trigger an index update.
for package in $optional; do
    if apt-cache show "$package" > /dev/null 2>&1; then missing="$missing $package"; fi
done
[ -z "$missing" ] || install_packages

# A copy of the lock file is the stamp: the environment is recreated when the lock file changes.
if ! cmp -s requirements.txt .venv/requirements.txt; then
    echo "setup: installing the Python packages of requirements.txt into .venv"
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check \
        --require-hashes --requirement requirements.txt
    cp requirements.txt .venv/requirements.txt
fi

[ "$engine" = host ] || exit 0

# qemu-user must run foreign programs. arch-test runs one: a binfmt registration alone can be broken.
register() {
    formats=/proc/sys/fs/binfmt_misc
    [ -e $formats/register ] || as_root mount -t binfmt_misc binfmt_misc $formats
    if [ -e "$formats/qemu-$1" ]; then
        echo -1 | as_root tee "$formats/qemu-$1" > /dev/null
    fi
    if [ -e "/usr/lib/binfmt.d/qemu-$1.conf" ]; then
        as_root tee $formats/register < "/usr/lib/binfmt.d/qemu-$1.conf" > /dev/null
    else
        as_root update-binfmts --enable "qemu-$1"
    fi
}
for pair in armhf:arm arm64:aarch64; do
    arch-test "${pair%:*}" > /dev/null || {
        echo "setup: registering qemu-${pair#*:} with binfmt_misc"
        register "${pair#*:}"
        arch-test "${pair%:*}"
    }
done
