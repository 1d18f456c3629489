"""The commands: they translate between a terminal and the program, and decide nothing."""
