"""The lake as sources of a dbt project that runs on dbt-duckdb. Writing them needs neither.

Source: https://github.com/duckdb/dbt-duckdb, "External sources".
"""

from __future__ import annotations

import json
from pathlib import Path

from shroff.analytics.marts.views import LakeFiles, read_parquet


def sources_yml(project: str, address: str, lake: LakeFiles) -> str:
    """A `sources.yml` with a table for each view of the lake that has rows; its columns from the project's types.

    The files are those that count now: make it anew whenever the lake was written or compacted.
    """
    lines = [
        "# Made by 'shroff marts dbt': the files of the lake that count. Make it anew before each 'dbt build'.",
        "version: 2",
        "sources:",
        "  - name: shroff",
        f"    description: {json.dumps(f'The lake of {project}', ensure_ascii=False)}",
        "    tables:",
    ]
    for name, folders in lake.views.items():
        parts = []
        for folder in folders:
            files = [f"{address.rstrip('/')}/{one}" for one in lake.of(folder)]
            if files:
                parts.append(read_parquet(folder, files))
        if not parts:
            continue
        query = parts[0] if len(parts) == 1 else "(" + " UNION ALL BY NAME ".join(f"FROM {one}" for one in parts) + ")"
        location = query.replace("{", "{{").replace("}", "}}")  # dbt-duckdb fills in braces
        lines += [
            f"      - name: {json.dumps(name)}",
            "        config:",
            f"          external_location: {json.dumps(location, ensure_ascii=False)}",
        ]
    return "\n".join(lines) + "\n"


def write_sources(out: Path, text: str) -> None:
    """Write the file, whole or not at all."""
    from shroff.runtime.whole_files import write_lines

    write_lines(out, [[text.encode()]])
