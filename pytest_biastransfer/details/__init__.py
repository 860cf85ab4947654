"""What a report says of a measured test besides its verdict: gathered by the process that measured it."""
