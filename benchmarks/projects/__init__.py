"""Files that `benchmarks.workload` copies into the projects that it generates; none is imported from here."""
