"""Models trained elsewhere: checked on given rows, judged and kept."""
