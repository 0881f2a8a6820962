"""The command `clip-zoo`. Each subcommand is a module of its own, imported when it is called."""

from __future__ import annotations

import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

BAD_INPUT = 2  # the exit code, as of most commands

app = App(
    name="clip-zoo",
    help="CLIP for PyTorch, TensorFlow and Flax.",
    version=lambda: version("clip-zoo"),
    help_format="markdown",
    result_action="return_value",
)
# A command's module is imported when the command is called; what the overview says of it therefore stands here.
app.command(
    "clip_core.commands.classify:classify",
    name="classify",
    help="""Name pictures: the likeliest of the labels for each, with their probabilities.

    ```
    clip-zoo classify cat.jpg --labels "a cat" "a dog"
    clip-zoo classify photos/ "more/*.png" --labels-file names.txt --template "a photo of a {}" --json
    ```
    """,
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 when all went well, 2 on bad input, which one line on stderr explains."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        print(f"clip-zoo: {error}", file=sys.stderr)  # noqa: T201
        code = BAD_INPUT
    except KeyboardInterrupt:
        code = 130  # what a shell reports for a command ended by Ctrl-C
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
