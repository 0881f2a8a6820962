"""The subcommands of clip-zoo that work on checkpoints, one module each: they parse, call the library and print.

Internal.
"""
