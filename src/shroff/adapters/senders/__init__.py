"""Senders: events into Kafka topics and Redis streams."""
