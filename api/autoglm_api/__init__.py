"""Everything that crosses a process boundary: specs, statuses, names, environment, exit codes, manifests."""
