"""The policies that come with Nalar; docs/policies.md says how to write one of your own."""
