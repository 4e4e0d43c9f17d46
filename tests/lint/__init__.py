"""Rules of this project that no general linter knows; `python -m tests.lint` names every place that breaks one.

Each rule is a function of a file, or of the schema, that gives findings; tests/unit/lint proves that each fires.
"""
