"""What watches shroff, made from tables: alerts, objectives, dashboards. `python -m tools.watch` writes the files."""
