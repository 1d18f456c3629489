"""YAML files of a project as nodes with positions."""
