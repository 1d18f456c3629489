"""The one typed language: types and their values, grammar, parser, checker, two evaluators."""
