"""Commands written by hand, of a group whose work streams or waits: the session, output, completion and progress."""

from __future__ import annotations

from shroff.cli.completion import event_types
from shroff.cli.progress import bars
from shroff.cli.session import ExampleGroup, Session, argument, command, cut, json_option, many, one_line, table
