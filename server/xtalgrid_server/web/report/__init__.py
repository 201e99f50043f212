"""Reports: plates as a PDF for print or as one HTML file, for the group meeting."""
