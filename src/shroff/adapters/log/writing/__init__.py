"""How a log in SQL writes batches, and moves rows into frames."""
