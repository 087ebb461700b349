"""A second reader of Govbridge's formats, written from docs/spec and its vectors alone."""
