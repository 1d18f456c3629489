"""Sources: files, Kafka, Redis streams."""
