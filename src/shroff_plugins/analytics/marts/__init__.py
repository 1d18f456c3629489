"""SQL marts: tables that a project's own SQL makes of the lake, with their tests."""
