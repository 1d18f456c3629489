"""Background jobs with their states, and the due times of schedules."""
