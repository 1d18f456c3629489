"""Charts of pages, as SVG shapes."""
