#!/bin/sh
# SPDX-License-Identifier: MIT
# Write an argon2 hash in Jupyter's format and with its costs (jupyter_server.auth.security), but
# with the build's salt, so that the image is reproducible. Written in place: the file keeps owner
# and mode. Jupyter does not verify the hash here, since its import takes seconds under emulation;
# the checks of the booted image log in with the password.
python3 - /etc/jupyter/jupyter_server_config.json <<'EOF'
import json, os, pathlib, sys
from argon2.low_level import Type, hash_secret

path = pathlib.Path(sys.argv[1])
hashed = hash_secret(
    os.environ["PARAM_PASSWORD"].encode(), os.environ["SALT"].encode(),
    time_cost=10, memory_cost=10240, parallelism=8, hash_len=16, type=Type.ID,
)
config = json.loads(path.read_text())
config["PasswordIdentityProvider"]["hashed_password"] = f"argon2:{hashed.decode()}"
path.write_text(json.dumps(config, indent=2) + "\n")
# For the message at login.
if os.environ["PARAM_PASSWORD"] == "xilinx":
    path.with_name("known-password").write_text(f"{hashed.decode()}\n")
    path.with_name("known-password").chmod(0o600)
EOF
