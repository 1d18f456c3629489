"""The batch engine over partitions by entity, for the processes of a cluster."""
