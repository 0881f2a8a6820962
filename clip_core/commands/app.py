"""The table of all subcommands of `clip-zoo`. Each is its own module, imported when called. Internal."""

from __future__ import annotations

from cyclopts import App


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
    "clip_core.commands.index:index",
    name="index",
    help="""Index images for searching, or bring an index up to date.

    ```
    clip-zoo index photos/ --out photos-index/
    clip-zoo index photos/ more/ --out photos-index/ --model openai/clip-vit-large-patch14
    clip-zoo index --from embeddings/ --out photos-index/
    ```
    """,
)
app.command(
    "clip_core.commands.embed:embed",
    name="embed",
    help="""Embed many images into a dataset of Parquet files, or complete such a dataset.

    ```
    clip-zoo embed "shards/{000..099}.tar" --out embeddings/ --embedding-dtype float16
    clip-zoo embed photos/ --out embeddings/
    clip-zoo index --from embeddings/ --out photos-index/
    ```
    """,
)
app.command(
    "clip_core.commands.search:search",
    name="search",
    help="""Search an index of images by text and by image.

    ```
    clip-zoo search photos-index/ "a red bicycle" --top-k 5
    clip-zoo search photos-index/ "a dog" --not "a cat" --where "date>=2024-06" "size<2MB" --html page.html --open
    clip-zoo search photos-index/ --image query.jpg --json
    ```
    """,
)
app.command(
    "clip_core.commands.duplicates:duplicates",
    name="duplicates",
    help="""Find identical files, identical pixels and look-alikes in an index. Deletes nothing.

    ```
    clip-zoo duplicates photos-index/ --threshold 0.98 --json
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
    help="""Serve embeddings over HTTP as OpenAI's clients request them; also labels, explanations, search and a page.

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
