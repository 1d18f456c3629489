"""The heart: features, computed exactly at each event, by engines that agree to the bit."""
