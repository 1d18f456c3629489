"""Attachments of cases: small files of few types, whose content matches their type."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from shroff.errors import UsageError

SIZE_MAX = 2 * 1024 * 1024
NAME_MAX = 200


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _begins(*signs: bytes) -> Callable[[bytes], bool]:
    return lambda content: content.startswith(signs)


TYPES: Final[Mapping[str, Callable[[bytes], bool]]] = MappingProxyType(
    {  # browsers execute none of these; so no HTML and no SVG
        "application/pdf": _begins(b"%PDF-"),
        "image/gif": _begins(b"GIF87a", b"GIF89a"),
        "image/jpeg": _begins(b"\xff\xd8\xff"),
        "image/png": _begins(b"\x89PNG\r\n\x1a\n"),
        "image/webp": lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP",
        "text/csv": _is_text,
        "text/plain": _is_text,
    }
)


ENDINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "application/pdf": (".pdf",),
        "image/gif": (".gif",),
        "image/jpeg": (".jpg", ".jpeg"),
        "image/png": (".png",),
        "image/webp": (".webp",),
        "text/csv": (".csv",),
        "text/plain": (".txt", ".log"),
    }
)


def checked_type(media_type: str, content: bytes) -> str:
    """Return the media type without parameters. Raises: UsageError if it is not allowed, or the content is empty, too
    long or of another type.
    """
    kind = media_type.partition(";")[0].strip().lower()
    is_kind = TYPES.get(kind)
    if is_kind is None:
        raise UsageError(f"a file of this kind cannot be attached; there is {', '.join(TYPES)}.")
    if not content or len(content) > SIZE_MAX:
        raise UsageError(f"a file has 1 to {SIZE_MAX:,} bytes, and this one has {len(content):,}.")
    if not is_kind(content):
        raise UsageError(f"the bytes of this file are not those of {kind}.")
    return kind


def checked_name(name: str, kind: str) -> str:
    """Return a file name without folders and control characters, with an extension of its type. Raises: UsageError.

    The extension matters because the saved file is opened by it: `invoice.exe` with text becomes `invoice.exe.txt`.
    """
    plain = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2].strip()
    if not plain or len(plain) > NAME_MAX or not plain.isprintable() or plain.startswith("."):
        raise UsageError(f"a file name has 1 to {NAME_MAX} visible characters, and no dot at the start.")
    return named_for(plain, kind)


def named_for(name: str, kind: str) -> str:
    """Append an extension of the type, unless the name has one.

    >>> named_for("scan.JPEG", "image/jpeg"), named_for("a.html", "text/plain"), named_for("notes", "text/csv")
    ('scan.JPEG', 'a.html.txt', 'notes.csv')
    """
    endings = ENDINGS[kind]
    return name if name.lower().endswith(endings) else name + endings[0]
