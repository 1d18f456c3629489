"""What runs in the background, and when: jobs with their states, and the due times of schedules."""
