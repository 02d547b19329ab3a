"""What the Snakefile asks of the study: its targets, and the values that decide when a job runs again."""
