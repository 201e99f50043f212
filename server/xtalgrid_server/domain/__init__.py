"""Plain frozen data, and rules that need no database: images, wells, inspections."""
