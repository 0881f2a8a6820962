"""The subcommands of clip-zoo that work on checkpoints, one module each: parse, call the library, print.

Internal.
"""
