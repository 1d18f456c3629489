"""A project folder read into one typed and hashed value: definitions, policy, lists."""
