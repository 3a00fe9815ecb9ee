"""What people read: pages drawn from a recording and its verdict, and from nothing else."""
