"""What may be said of a difference: intervals over seeds and images, families of them, verdicts and plans."""
