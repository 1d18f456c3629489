"""The batch engine: features of a whole history, column by column."""
