#!/bin/sh
# SPDX-License-Identifier: MIT
# Hashed by Jupyter itself, whose format it is. Written in place: the file keeps
# its owner and its mode.
python3 - /etc/jupyter/jupyter_server_config.json <<'EOF'
import json, os, pathlib, sys
from jupyter_server.auth.security import passwd

path = pathlib.Path(sys.argv[1])
config = json.loads(path.read_text())
config["PasswordIdentityProvider"]["hashed_password"] = passwd(os.environ["PARAM_PASSWORD"])
path.write_text(json.dumps(config, indent=2) + "\n")
EOF
