"""A Kafka cluster as the adapters use it: client settings, topics, dead letters, control topics."""
