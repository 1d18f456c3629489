"""The online engine: features from running state, batch by batch or one event at a time."""
