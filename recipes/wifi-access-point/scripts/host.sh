#!/bin/sh
# SPDX-License-Identifier: MIT
# Add name and key of the network; the key is derived as in recipe wifi.
python3 - "$ROOT/etc/wpa_supplicant/wifi-access-point.conf" <<'EOF'
import hashlib, os, pathlib, sys

path = pathlib.Path(sys.argv[1])
ssid, passphrase = (os.environ[f"PARAM_{name}"].encode() for name in ("SSID", "PASSPHRASE"))
key = hashlib.pbkdf2_hmac("sha1", passphrase, ssid, 4096, 32).hex()
path.write_text(path.read_text() + f"    ssid={ssid.hex()}\n    psk={key}\n}}\n")
EOF
