"""What terminals show of a verdict, a diagnosis, a life, a plan."""
