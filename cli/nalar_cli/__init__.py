"""The command line: parses, calls the library, prints. No logic of its own lives here.

A command imports the library inside, so that `nalar --help` answers at once.
"""
