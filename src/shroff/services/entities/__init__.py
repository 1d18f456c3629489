"""List the keys of an entity."""
