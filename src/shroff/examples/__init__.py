"""Made-up data that ships with the program: enough to try everything without a data set of one's own."""
