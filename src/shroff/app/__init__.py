"""An opened project: what commands, programs and notebooks call."""
