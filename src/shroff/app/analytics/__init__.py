"""What is asked of the log and lake of an opened project every morning."""
