"""What results become: found by folder, summarised, as tables, plots and a page."""
