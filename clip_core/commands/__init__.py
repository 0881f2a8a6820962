"""The subcommands of clip-zoo, one module each. They parse arguments, call the library and print. Internal."""
