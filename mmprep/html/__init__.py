"""Web pages of both packages: markup, charts and one style sheet, without a line of JavaScript."""
