"""Projects as each release left them, and what that release said of them. See test_releases.py."""
