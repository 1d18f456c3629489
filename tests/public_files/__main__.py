"""Show what the proposals of these kinds of files, or of all, make of them: `python -m tests.public_files [KIND ...]`.

The files and projects are left in public_files/ of the system's folder for temporary files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.public_files.judging import judged
from tests.public_files.making import made
from tests.public_files.test_public_files import KINDS


def main(names: list[str]) -> None:
    right = columns = whole = 0
    for kind in KINDS:
        if names and kind.name not in names:
            continue
        folder = Path(tempfile.gettempdir()) / "public_files" / kind.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        result = judged(made(kind), folder)
        count = len(kind.columns)
        wrong = len({finding.column for finding in result.wrong})
        right += count - wrong
        columns += count
        whole += not result.findings
        print(f"{kind.name}: {count - wrong} of {count} columns right, {len(result.findings)} findings; {folder}")
        for finding in result.findings:
            print(f"    {finding.key}: {finding.said}; right: {finding.right}")
        for finding in result.wrong:
            print(f"      . {finding.column} ({finding.right}): {finding.said}")
        for text in result.outcome.said if names else ():
            print(f"      said: {text}")
    print(f"{whole} kinds without a finding, {right} of {columns} columns right ({right / columns:.1%})")


if __name__ == "__main__":
    main(sys.argv[1:])
