"""Avro: schemas, files and messages of a schema registry as events."""
