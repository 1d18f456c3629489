"""Rules that labels suggest, and rules to drop."""
