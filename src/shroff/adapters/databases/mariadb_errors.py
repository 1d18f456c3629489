"""Errors of MariaDB as errors of shroff, with the location and the fix."""

from __future__ import annotations

import ssl
from typing import Final

import pymysql

from shroff.adapters.log.session import CollisionError
from shroff.errors import LogBusyError, ShroffError, StorageError, TransientError

# Numbers of the server's errors and of the client's, from 2000 on.
_COLLISION: Final = 1062
_LOCKED: Final = frozenset([1205, 1213])
AWAY: Final = frozenset([1040, 1053, 1203, 1927, 2002, 2003, 2006, 2013, 2014, 4031])
_WORDS: Final = {
    "the server's disk is full. Free space there and start again": (3, 1021, 1030, 1114),
    "the server rejects the sign-in of {user}. Check user and password in the address, and the user's host there": (
        *(1044, 1045, 1130, 1698),
    ),
    "there is no such database. Make it with CREATE DATABASE, or name another one in the address": (1049,),
    "{user} lacks a permission ({error}). Grant it all rights on this database": (1142, 1143, 1227, 1370),
    "this server is read-only, such as a replica. Use the address of the primary": (1290, 1792, 1836),
    "a row is larger than the server accepts. Raise max_allowed_packet there and start again": (1153,),
    "the server reports damage ({error}). Do not write to it. Look at its log, and restore a backup": (
        *(126, 1034, 1194, 1877),
    ),
}
_BY_NUMBER: Final = {number: words for words, numbers in _WORDS.items() for number in numbers}


def mariadb_error(error: Exception, place: str, user: str) -> ShroffError:
    """Say in one sentence what is wrong, where, and what to do; nothing acknowledged is lost in any of these."""
    number, told = number_of(error), _told(error)
    who = f"user {user}" if user else "this user"
    if number == _COLLISION:
        return CollisionError(f"{place}: a row has a key that is taken")  # the server's words repeat the key
    if number in _LOCKED:
        return LogBusyError(f"{place} is held by another session with an open transaction. End it and try again")
    if number in _BY_NUMBER:
        return StorageError(f"{place}: {_BY_NUMBER[number].format(user=who, error=told)}")
    if _is_untrusted(error):
        return StorageError(
            f"{place}: the connection cannot be secured as asked ({told}). Name the authority's certificates by ssl_ca "
            f"in the address; sslmode=require connects without verifying the server"
        )
    if number in AWAY or isinstance(error, pymysql.err.InterfaceError | OSError):
        return TransientError(
            f"{place} cannot be reached, or closed the connection ({told}). No stored data is lost. Check that it "
            f"runs and that this machine can reach it, and try again"
        )
    return StorageError(f"{place}: MariaDB refused: {told}. No stored data is lost; run `shroff doctor`")


def number_of(error: Exception) -> int:
    """The number of an error, 0 where it has none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def _told(error: Exception) -> str:
    words = str(error.args[-1]) if error.args else ""
    return (words or type(error).__name__).strip().splitlines()[0]


def _is_untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError) or "SSL" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
