"""From predictions to measurements: `measure` and `measure_gaps`."""
