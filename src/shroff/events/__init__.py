"""Event types, entities, mappings and encodings: how outside data becomes a typed event."""
