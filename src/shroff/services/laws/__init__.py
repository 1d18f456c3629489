"""Laws about a policy: `shroff prove` proves them for all events, or refutes them by one."""
