"""Files of a folder that may come from somebody else, such as a clone: each is read only where it lies in the folder.

A link that leads out of it would show whoever reads the messages of a check what else the machine has.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shroff.errors import UsageError

_SECRET_ENDINGS: Final = (".key", ".pem", ".p12", ".pfx", ".jks")
_CURE: Final = "Replace it by a plain file."


def has_secret_name(parts: Sequence[str]) -> bool:
    """Whether a path in a project's folder has the name of a secret."""
    return parts[0] == "secrets" or parts[-1].startswith(".env") or parts[-1].endswith(_SECRET_ENDINGS)


def leads_out(folder: Path, path: Path) -> bool:
    """Whether a path in a folder leads out of it, to a secret or into a hidden folder such as .shroff, by links."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ("..",)
    if ".." in parts or any(folder.joinpath(*parts[:end]).is_symlink() for end in range(1, len(parts) + 1)):
        home, real = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
        if not real.is_relative_to(home):
            return True
        parts = real.relative_to(home).parts
    if not parts:
        return False
    is_hidden = parts[0].startswith(".") and not parts[0].startswith("..")  # `..data` is a link of Kubernetes
    return is_hidden or has_secret_name(parts)


def foreign(folder: Path, path: Path) -> tuple[str, str] | None:
    """Why a file in a folder is not read, and what to do; None where it is a plain file, behind links or not."""
    if leads_out(folder, path):
        return "this link leads out of the project's folder or to a secret, and is not followed.", _CURE
    return None if path.is_file() else ("this is not a plain file, and is not read.", _CURE)


def own(folder: Path, name: str) -> Path:
    """The path of a file in a folder, to be read or written. Raises: UsageError where it leads elsewhere."""
    path = folder / name
    if (path.exists() or path.is_symlink()) and (found := foreign(folder, path)) is not None:
        raise UsageError(f"{path}: {' '.join(found)}")
    return path
