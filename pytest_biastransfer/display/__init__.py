"""What results show of themselves in notebooks and scripts: plain data, data frames, plots and cards."""
