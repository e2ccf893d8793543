"""Charts that only the report has, drawn with `mmprep.html.charts`."""
