"""The command `clip-zoo`. Each subcommand is its own module, imported when called."""

from __future__ import annotations

import sys
import traceback
import warnings

from cyclopts import App, CycloptsError

from clip_core.commands.streams import run_program

BAD_INPUT = 2  # the conventional exit code for usage errors
BROKEN_LIBRARY = 3
_LONGEST_MESSAGE = 10_000  # characters, several lines; more would hide what was typed


def _version() -> str:
    from importlib.metadata import version  # slow to import, as it pulls in the email parser

    return version("clip-zoo")


app = App(
    name="clip-zoo",
    help="CLIP with the same numbers in every framework.",
    version=_version,
    help_format="markdown",
    result_action="return_value",
)
# A command's module is imported only when the command is called, so its summary in the overview is repeated here.
app.command(
    "clip_core.commands.classify:classify",
    name="classify",
    help="""Classify images: the most likely labels for each, with probabilities.

    ```
    clip-zoo classify cat.jpg --labels "a cat" "a dog"
    clip-zoo classify photos/ "more/*.png" --labels-file names.txt --template "a photo of a {}" --json
    ```
    """,
)
app.command(
    "clip_core.commands.explain:explain",
    name="explain",
    help="""Explain the logits of images with texts: a heatmap for each text, and the relevance of each word.

    ```
    clip-zoo explain cat-and-dog.jpg "a cat" "a dog"
    clip-zoo explain photos/ "a cat" --method legrad --html report.html
    ```
    """,
)
app.command(
    "converters.commands.convert:convert",
    name="convert",
    help="""Convert a checkpoint into another format, with its configuration, preprocessing and tokenizer.

    ```
    clip-zoo convert openai/clip-vit-base-patch32 clip-original/ --to openai
    clip-zoo convert ViT-B-32.pt clip/ --to safetensors --dtype float16
    clip-zoo convert clip/ clip-shards/ --to safetensors --max-shard-size 200MB --json
    ```
    """,
)
app.command(
    "converters.commands.inspect:inspect",
    name="inspect",
    help="""Inspect a checkpoint: format, towers, activation, tokens, images, hash; and warn of known traps.

    ```
    clip-zoo inspect openai/clip-vit-base-patch32
    clip-zoo inspect stable-diffusion/ --subfolder text_encoder --no-hash --json
    ```
    """,
)
app.command(
    "converters.commands.diff:diff",
    name="diff",
    help="""Compare two checkpoints, across formats: names, shapes, values and configurations. Exit code 1: different.

    ```
    clip-zoo diff clip/ ViT-B-32.pt
    ```
    """,
)
app.command(
    "converters.commands.formats:formats",
    name="formats",
    help="""List the checkpoint formats that can be read and written.

    ```
    clip-zoo formats
    ```
    """,
)
app.command(
    "converters.commands.verify:verify",
    name="verify",
    help="""Verify that the frameworks compute the same values, stage by stage. Exit code 1 if not.

    ```
    clip-zoo verify openai/clip-vit-base-patch32 --grad --train-step --report report.html
    clip-zoo verify converted/ --against clip/
    ```
    """,
)

app.command(
    "clip_core.commands.train:train",
    name="train",
    help="""Train a CLIP model on image-text pairs, or resume training.

    ```
    clip-zoo train --data pictures/ --model openai/clip-vit-base-patch32 --checkpoint-dir run/ --lr 1e-5
    clip-zoo train --data "shards/{000..099}.tar" --model my/config.json --checkpoint-dir run/ --resume
    ```
    """,
)

app.command(
    "clip_core.commands.serve:serve",
    name="serve",
    help="""Serve a model over HTTP: embeddings as OpenAI's clients request them, zero-shot labels, and a page.

    ```
    clip-zoo serve --model openai/clip-vit-base-patch32
    CLIP_ZOO_API_KEY=... clip-zoo serve --model clip/ --host 0.0.0.0 --port 8000
    ```
    """,
)

evaluate = App(
    name="evaluate",
    help="""Evaluate a model: zero-shot classification, retrieval, or a linear probe.

    ```
    clip-zoo evaluate zero-shot --data pictures/ --template-set imagenet-80
    clip-zoo evaluate retrieval --data captioned/ --model run/step-00001000
    clip-zoo evaluate probe --data train.parquet --test-data test.parquet --json
    ```
    """,
)
for task, summary in (
    ("zero-shot", "Classify images by their class names: top-1, top-5 and per-class accuracy."),
    ("retrieval", "Retrieve texts by image and images by text: recall at 1, 5 and 10, and mean reciprocal rank."),
    ("probe", "Classify images with a linear classifier on their frozen embeddings."),
):
    evaluate.command(f"clip_core.commands.evaluate:{task.replace('-', '_')}", name=task, help=summary)
app.command(evaluate)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 on success, 2 on bad input, with a one-line explanation on stderr.

    A closed pipe, as in `clip-zoo verify ... | head -1`, changes no exit code.

    Args:
        arguments: the command line; by default `sys.argv[1:]`.
    """
    typed = sys.argv[1:] if arguments is None else arguments

    def one_line(message: Warning | str, *_: object, **__: object) -> str:
        return f"clip-zoo: {_naming_the_option(str(message), typed)}\n"  # without its code location

    warnings.formatwarning = one_line
    sys.exit(run_program(lambda: _exit_code(typed), "clip-zoo"))


def _exit_code(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    try:
        import clip_core.imports.shadowing  # noqa: F401  before the first import from `converters`

        _check_not_blank(arguments)
        code = app(arguments, exit_on_error=False, print_error=False)
    except MemoryError as error:
        print(f"clip-zoo: there is not enough memory ({error}); try a smaller --batch-size", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        if (library := _failed_import(error)) is not None:
            told = f"{library} is installed but cannot be imported; reinstall it, or install another release: {error}"
            print(f"clip-zoo: {told}", file=sys.stderr)  # noqa: T201
            return BROKEN_LIBRARY
        message = str(getattr(error, "summary", error))
        print(f"clip-zoo: {_naming_the_option(message, arguments)}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130  # the shell's code for a command ended by Ctrl-C
    return code if isinstance(code, int) else 0


def _check_not_blank(arguments: list[str]) -> None:
    """Refuse options with an empty value: usually a variable of the shell was not set."""
    if all(word[word.find("=") + 1 :].strip() for word in arguments):
        return  # without reading the options, which takes time
    from clip_core.commands.wording import Options

    for option, value in Options.read(app, arguments).typed:
        if not value.strip():
            raise ValueError(f"{option} {value!r} is empty; give a value, or leave the option out")


def _failed_import(error: BaseException) -> str | None:
    """Return the name of the library whose import raised an error for a reason other than being absent; None otherwise.

    For example, a library built for another release of numpy raises a ValueError, and one without its shared objects an
    OSError.
    """
    from clip_core.backends import BrokenLibraryError, own_packages

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__) if frame.f_code.co_name == "<module>"]
        name = frames[-1].f_globals["__name__"].partition(".")[0] if frames else None
        if name is not None and (name not in own_packages() or isinstance(error, BrokenLibraryError)):
            return str(name)
        cause = cause.__cause__
    return None


def _naming_the_option(message: str, arguments: list[str]) -> str:
    """Put the options that were typed in place of the library's arguments in an error or a warning of one line.

    Args:
        message: its message.
        arguments: the command line.
    """
    from clip_core.commands.wording import Options, in_options

    message = in_options(message[:_LONGEST_MESSAGE], Options.read(app, arguments))
    for word in arguments:
        for text in (word, word.partition("=")[2]):
            if len(text.splitlines()) > 1:  # a message stays one line, whatever was typed
                message = message.replace(text, repr(text)[1:-1])
    return " ".join(message.split("\n"))  # messages of other libraries may have several


if __name__ == "__main__":
    main()
