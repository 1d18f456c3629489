"""What it costs to import the package and to ask for help: time, and the libraries that get loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMPORT_S_MAX = 0.3
HELP_S_MAX = 0.4
# Caches of a processor are shared with other tests: the best of these counts.
TRIES = 5
HEAVY = {"argon2", "numba", "numpy", "pyarrow", "rich", "sqlalchemy"}
COMPILERS = {"llvmlite", "numba"}
DATACLASSES_MAX = 45  # that a check may make, at 0.7 ms each: a frozen value that most commands load is a struct
SHROFF = Path(sys.executable).parent / "shroff"


def test_importing_the_package_stays_within_its_budget():
    code = "import time; began = time.process_time(); import shroff; print(time.process_time() - began)"

    assert best(lambda: float(output(sys.executable, "-c", code)), enough=IMPORT_S_MAX) < IMPORT_S_MAX


def test_help_stays_within_its_budget():
    assert best(lambda: seconds(str(SHROFF), "--help"), enough=HELP_S_MAX) < HELP_S_MAX


def test_importing_the_package_loads_no_heavy_library():
    assert loaded_after("import shroff") & HEAVY == set()


def test_help_loads_no_heavy_library():
    code = "from shroff.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"

    assert loaded_after(code) & HEAVY == set()


def test_help_of_an_operation_on_files_loads_no_database_and_no_compiler():
    code = "from shroff.cli.main import main\ntry:\n    main(['lists', 'show', '--help'])\nexcept SystemExit:\n    pass"

    assert loaded_after(code) & {"sqlalchemy", "ssl", *COMPILERS} == set()


def test_a_check_loads_no_compiler_and_makes_few_dataclasses(tmp_path: Path):
    subprocess.run([SHROFF, "init", tmp_path / "bank", "--template", "payments"], check=True, capture_output=True)
    counting = (
        "import dataclasses, sys\nfrom shroff.cli.main import run\n"
        f"run(['-C', {str(tmp_path / 'bank')!r}, 'check', '--json'])\n"
        "known = {one for name, module in sys.modules.items() if name.startswith('shroff.')"
        " for one in vars(module).values() if isinstance(one, type) and dataclasses.is_dataclass(one)}\n"
        "print('DATACLASSES', len(known), 'COMPILERS', *sys.modules)"
    )
    found = output(sys.executable, "-c", counting).rpartition("DATACLASSES")[2].split()

    assert int(found[0]) <= DATACLASSES_MAX
    assert COMPILERS & set(found) == set()


def test_a_heavy_import_would_be_seen():
    assert loaded_after("import numpy") & HEAVY == {"numpy"}


def best(measure, *, enough):
    """The lowest of several measurements; stops at the first below `enough`."""
    lowest = float("inf")
    for _ in range(TRIES):
        lowest = min(lowest, measure())
        if lowest < enough:
            break
    return lowest


def seconds(*command):
    """What a command takes of a processor."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0
    return used.ru_utime + used.ru_stime


def loaded_after(code):
    """The top-level names of the modules that a fresh interpreter has loaded after this code."""
    text = output(sys.executable, "-c", f"{code}\nimport sys\nprint('LOADED', *sorted(sys.modules))")
    return {name.split(".")[0] for name in text.rpartition("LOADED")[2].split()}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
