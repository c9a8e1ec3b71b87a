"""What scripts/compare is made of: `tools` (how each program is called), `measure` (clocks, caches, correctness), `mounts` (rows of a
mount, random reads among them), `rounds` (which rows a corpus has), `table` (medians and ratios)."""
