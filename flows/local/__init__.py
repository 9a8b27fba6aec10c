"""What `miniseries up` keeps running on this machine: a Prefect server, workers, and the record of them."""
