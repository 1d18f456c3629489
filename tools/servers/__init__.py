"""Real servers for tests, benchmarks and examples: fetched once, started on loopback, stopped for certain.

No containers. Debian's packages are unpacked beside each other into a cache, not installed; jars come from
Maven Central, Go programs are built. `python -m tools.servers kafka postgres` starts some and prints where they are.
"""
