"""The HTTP face of the API server: requests in, objects, lists, tables, watches and Status bodies out."""
