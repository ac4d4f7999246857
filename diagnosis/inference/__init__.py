"""The one door to ml_model: nothing else in this application imports it.

`serving` answers for a running site, `workshop` makes and measures networks for commands, and both find their
models in `bundles`.
"""
