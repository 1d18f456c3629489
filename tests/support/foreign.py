"""A package of somebody else with adapters (tests/foreign_adapters): built, installed, or laid out to be found."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from shroff.operations import declaration, manifest
from shroff.project.settings import installed, systems_keys
from shroff.runtime import entry_points

ROOT = Path(__file__).resolve().parent.parent / "foreign_adapters"
MODULES = "bank_spool"
FILES = {
    "shroff.yaml": """shroff: 1
name: small
money: EUR
source: { spool: { folder: in, files: { payment: payments.jsonl } } }
sinks: { decided: { spool: { file: out/decisions.jsonl } } }
mail: { outbox: { folder: relay }, from: Small Bank <notices@bank.example> }
""",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money, email: text? personal }
entities:
  card: { payment: card }
""",
    "rules/large.yaml": """
- id: large
  on: payment
  by: card
  when: this.amount > 100
  reason: A payment of {this.amount}
  effect: review
  notify: customer
""",
    "notices/customer.yaml": "to: { field: email }\nshow: { amount: this.amount }\n",
}


def bank(folder: Path) -> Path:
    """A project that names no other source, sink and mailer than those of the package."""
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def built(folder: Path) -> Path:
    """The package as a wheel, installed into a folder of its own; without a network."""
    wheels, site = folder / "wheels", folder / "site"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)  # all that installing a wheel of pure Python is; not each venv has pip
    return site


def laid_out(folder: Path, points: str = "") -> Path:
    """What an installation leaves for others to find, by hand: its entry points, its own ones or these."""
    info = folder / "bank_spool-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bank-spool\nVersion: 1.0\n", encoding="utf-8")
    if not points:
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
        for group, names in groups.items():
            points += f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in names.items())
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    return folder


@contextmanager
def found(folder: Path) -> Iterator[None]:
    """Have this process find what is laid out in a folder."""
    with patch.object(sys, "path", [str(folder), str(ROOT / "src"), *sys.path]):
        _forget()
        try:
            yield
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == MODULES]:
                del sys.modules[name]
            for name in [name for name in declaration.OPERATIONS if name.startswith("spool")]:
                del declaration.OPERATIONS[name]
    _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    for module in (entry_points, installed, systems_keys, manifest):
        for var in vars(module).values():
            if hasattr(var, "cache_clear"):
                var.cache_clear()
