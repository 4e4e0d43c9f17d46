"""Who gets what: builds the services from a configuration and runs them under their locks and signals.

The only place that knows all adapters. One module a service, so that neither carries
in memory what only the other needs.
"""
