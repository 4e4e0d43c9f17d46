"""`python -m tests.bench [--only log|sync|ingest|queries]`: figures beside the naive scheme, in the same run.

Budgets come from the architecture; nothing here is asserted, since times belong to machines. A figure that this
machine cannot measure says why.
"""
