"""The project's YAML files as nodes with places."""
