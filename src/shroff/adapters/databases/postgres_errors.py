"""Errors of PostgreSQL as errors of shroff, with the location and the fix."""

from __future__ import annotations

import psycopg

from shroff.adapters.log.connection.log_connection import CollisionError
from shroff.errors import LogBusyError, ShroffError, StorageError, TransientError

_COLLISION = "23505"
_LOCKED = ("55P03", "40P01")
# SQLSTATEs of passing problems: the server stops, starts, has too many connections, or lost this one.
_AWAY = ("08", "57P", "53300", "25P03")
_WORDS = {
    "53100": "the server's disk is full. Free space there and start again",
    "53200": "the server is out of memory. Check its settings and what else runs there",
    "28": "the server rejects the sign-in of {user}. Check user and password in the address, and pg_hba.conf there",
    "3D000": "there is no such database. Make it with CREATE DATABASE, or name another one in the address",
    "42501": "{user} lacks a permission ({error}). Grant it the right to create a schema and to use its tables",
    "25006": "this server is read-only, such as a standby. Use the address of the primary",
    "XX": "the server reports damage ({error}). Do not write to it. Look at its log, and restore a backup",
}
# Without an SQLSTATE, errors of these classes come from the driver itself, which has sent nothing.
_UNSENT = (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError)
# Parts of libpq's messages, which have no SQLSTATE before a server answers.
_REFUSALS = ("authentication failed", "no password supplied", "role", "pg_hba.conf")
_UNTRUSTED = ("certificate", "SSL", "TLS")


def postgres_error(error: psycopg.Error, place: str, user: str) -> ShroffError:
    """Return the error of shroff for an error of PostgreSQL, with address and remedy. No committed data is lost."""
    code = error.sqlstate or ""
    message = type(error).__name__
    if str(error):
        message = (error.diag.message_primary or str(error)).strip().splitlines()[0]
    user_text = f"user {user}" if user else "this user"
    if code == _COLLISION:
        return CollisionError(f"{place}: {message}")
    if code in _LOCKED:
        return LogBusyError(f"{place} is held by another session with an open transaction. End it and try again")
    for start, template in _WORDS.items():
        if code.startswith(start):
            return StorageError(f"{place}: {template.format(user=user_text, error=message)}")
    if not code and isinstance(error, _UNSENT):
        return StorageError(f"{place}: the driver refused: {message}. No stored data is lost")
    if not code or code.startswith(_AWAY):
        return _unreachable_error(str(error), place, user_text, message)
    return StorageError(f"{place}: PostgreSQL refused: {message}. No stored data is lost; run `shroff doctor`")


def _unreachable_error(full_text: str, place: str, user_text: str, message: str) -> ShroffError:
    if any(refusal in full_text for refusal in _REFUSALS):
        return StorageError(f"{place}: {_WORDS['28'].format(user=user_text)}")
    if any(refusal in full_text for refusal in _UNTRUSTED) and "closed" not in full_text:
        return StorageError(
            f"{place}: the connection cannot be secured as asked ({message}). Name the authority's certificates by "
            f"sslrootcert in the address; sslmode=require connects without verifying the server"
        )
    if "does not exist" in full_text:
        return StorageError(f"{place}: {_WORDS['3D000']}")
    return TransientError(
        f"{place} cannot be reached, or closed the connection ({message}). No stored data is lost. Check that it runs "
        f"and that this machine can reach it, and try again"
    )
