"""The same deciders on a virtual clock."""
