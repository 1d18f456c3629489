"""The test kit that ships: contracts that every adapter must keep, and builders of events."""
