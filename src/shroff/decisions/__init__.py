"""The engine: features, rules and policy turn an event into a decision with its receipt."""
