# SPDX-License-Identifier: MIT
"""Groups and user accounts that a recipe creates."""

from __future__ import annotations

from builder.rootfs.target import Target
from builder.rootfs.templates import Renderer
from builder.spec.recipe import Group, User


class Accounts:
    """The accounts of a target, changed by its own shadow utilities."""

    def __init__(self, target: Target, render: Renderer) -> None:
        self._target = target
        self._render = render

    def add_group(self, group: Group) -> None:
        """Create a group unless it exists."""
        flags = ["--system"] if group.system else []
        self._target.run("groupadd", "--force", *flags, self._render.text(group.name))

    def add_user(self, user: User) -> None:
        """Create a user, or add an existing user to groups; then set the password."""
        name = self._render.text(user.name)
        groups = ",".join(map(self._render.text, user.groups))
        if not self._exists("passwd", name):
            self._target.run("useradd", *self._options(user, name, groups), name)
        elif groups:
            self._target.run("usermod", "--append", "--groups", groups, name)
        password = self._render.text(user.password or "")
        if password:
            hashed = self._hash(name, password)
            self._target.run("chpasswd", "--encrypted", stdin=f"{name}:{hashed}\n")

    def _options(self, user: User, name: str, groups: str) -> list[str]:
        """Return the options of useradd(8)."""
        options = ["--shell", self._render.text(user.shell)]
        # A system account has no home directory unless the recipe names one.
        home = not user.system or user.home
        options += ["--create-home"] if home else ["--no-create-home"]
        if user.home:
            options += ["--home-dir", self._render.text(user.home)]
        if user.system:
            options += ["--system"]
        options += ["--gid", name] if self._exists("group", name) else ["--user-group"]
        if groups:
            options += ["--groups", groups]
        return options

    def _exists(self, database: str, name: str) -> bool:
        return f"\n{name}:" in "\n" + self._target.run("cat", f"/etc/{database}")

    def _hash(self, name: str, password: str) -> str:
        salt = self._target.salt(f"user {name}")
        with self._target.job.workspace("password", need=1 << 20) as workspace:
            hashed = workspace.run(
                ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], stdin=f"{password}\n"
            )
        return hashed.strip()
