#!/bin/sh
# SPDX-License-Identifier: MIT
# Debian's packages contain 50 MB of firmware, for devices from television to data centres. Remove
# all but the firmware for Realtek's USB adapters, wireless and wired, for Ralink's, and for
# MediaTek's MT7601U. (An upgrade of the packages restores the rest.)
cat "$ROOT"/var/lib/dpkg/info/firmware-realtek.list "$ROOT"/var/lib/dpkg/info/firmware-m*.list 2>/dev/null |
    grep '/lib/firmware/' | grep -v -E '/(rtlwifi|rtl_nic|rt[0-9][^/]*\.bin|mt7601u\.bin)' | sort -r |
    while read -r path; do
        if [ -d "$ROOT$path" ] && [ ! -L "$ROOT$path" ]; then
            rmdir --ignore-fail-on-non-empty "$ROOT$path"
        else
            rm "$ROOT$path"
        fi
    done

# The key of WPA2 is derived from name and passphrase (IEEE 802.11i: PBKDF2 with SHA-1, 4096 rounds,
# as wpa_passphrase does). The passphrase itself is not stored in the image.
[ -n "$PARAM_SSID" ] || exit 0
python3 - "$ROOT/etc/wpa_supplicant/wifi.conf" <<'EOF'
import hashlib, os, pathlib, sys

path = pathlib.Path(sys.argv[1])
ssid, passphrase = (os.environ[f"PARAM_{name}"].encode() for name in ("SSID", "PASSPHRASE"))
key = hashlib.pbkdf2_hmac("sha1", passphrase, ssid, 4096, 32).hex()
access = f"psk={key}" if passphrase else "key_mgmt=NONE"
network = f"\nnetwork={{\n    ssid={ssid.hex()}\n    {access}\n}}\n"
path.write_text(path.read_text() + network)
EOF
