"""The one way out: every request that Winnow sends because somebody named an address goes through this package.

It knows no Django. `rules` says which addresses may be reached, `client` reaches them and nothing else.
"""
