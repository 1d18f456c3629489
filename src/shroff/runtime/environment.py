"""Settings from environment variables, or from the files that `NAME_FILE` names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shroff.errors import UsageError

COMPLETION_VARIABLE = "_SHROFF_COMPLETE"  # set by the scripts of `shroff completion`, empty otherwise
CREDENTIALS = (  # what clients of S3 and Azure read by themselves
    *map("AWS_{}".format, "ACCESS_KEY_ID SECRET_ACCESS_KEY SESSION_TOKEN".split()),
    *map("AZURE_{}".format, "STORAGE_ACCOUNT_KEY CLIENT_SECRET".split()),
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill_variables(text: str, setting: str, file: str = "shroff.yaml") -> str:
    """Return a setting with each `${NAME}` replaced by that environment variable, or by the file of `NAME_FILE`.

    Raises: UsageError if one is not set or its file cannot be read; it names the variable and shows no other text.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        variable = _variable(name)
        if variable is None:
            raise UsageError(f"{setting} in {file} reads ${{{name}}}, and that variable is not set.")
        return variable

    return _VARIABLE.sub(value, text)


def missing_variables(text: str) -> list[str]:
    """Return the names of a setting's variables that are not set in the environment, in order."""
    names = dict.fromkeys(_VARIABLE.findall(text))
    return [name for name in names if name not in os.environ and f"{name}_FILE" not in os.environ]


def share_credentials() -> None:
    """Set the variables that cloud libraries read, from the files that `NAME_FILE` names. Raises: UsageError."""
    for name in CREDENTIALS:
        if f"{name}_FILE" in os.environ:
            os.environ[name] = _variable(name) or ""
            del os.environ[f"{name}_FILE"]


def _variable(name: str) -> str | None:
    file = os.environ.get(f"{name}_FILE")
    if file is None:
        return os.environ.get(name)
    if name in os.environ:
        raise UsageError(f"both {name} and {name}_FILE are set in the environment; remove one of them.")
    try:
        return Path(file).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is not UTF-8 text")
        raise UsageError(f"{name}_FILE names {file}, which cannot be read: {why}.") from None


def completion_request() -> str:
    """Return the completion request of a shell, such as `bash_complete`; empty if a command is to be run."""
    return os.environ.get(COMPLETION_VARIABLE, "")
