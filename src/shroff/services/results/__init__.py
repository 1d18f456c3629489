"""Results: cost of fraud and rates of decisions, by period or by field."""
