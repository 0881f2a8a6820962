"""The subcommands of clip-zoo, one module each: they parse, call the library and print. Internal."""
