"""Sinks: Kafka, MongoDB, SQL databases, webhooks."""
