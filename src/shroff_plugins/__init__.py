"""Plug-ins of shroff: each folder uses only public interfaces, and entry points name what it adds."""
