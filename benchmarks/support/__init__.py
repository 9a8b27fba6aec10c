"""What benchmarks compare with, and the servers that they start."""
