"""What plug-ins may import of shroff, by subject; all other modules may change without notice.

Times are milliseconds since 1970 in UTC and amounts whole numbers of the smallest unit, unless a name says otherwise.
Errors are those of `shroff.errors`. docs/reference/plugin-names.md lists the names.
"""
