"""What `make run` and the end-to-end tests share: a site's real processes and its network."""
