"""The commands: they parse arguments, call the program, and print results."""
