"""CLIP image processor: images to `pixel_values`, resized by Pillow, then cropped, rescaled and normalized by numpy."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from clip_core.configuration.arguments import check_integers
from clip_core.images import transforms
from clip_core.images.files import BaseImageProcessor
from clip_core.images.inputs import fetch_images
from clip_core.images.pipeline import on_channels_last, process_images
from clip_core.images.settings import settings_of, size_dict
from clip_core.images.transforms import FIRST, check_channel_format
from clip_core.processing.batch import BatchFeature, check_tensor_type

if TYPE_CHECKING:
    from collections.abc import Collection

    from clip_core.images.settings import Size

OPENAI_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
OPENAI_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


class CLIPImageProcessor(BaseImageProcessor):
    """A processor that turns images of any size and kind into pixel values of one size.

    Every argument can be overridden per call. The values equal those of the slow CLIPImageProcessor of transformers
    4.57.6. `CLIPImageProcessorFast` is another name of this class: there is no second implementation on torchvision.

    Args:
        do_resize: resize to `size`.
        size: {"shortest_edge": n}, which keeps the aspect ratio, or {"height": h, "width": w}, which does not; n and
            (h, w) for short. In pixels; {"shortest_edge": 224} by default.
        resample: the filter, a `PIL.Image.Resampling` value; bicubic by default.
        do_center_crop: crop the center to `crop_size`; smaller images are zero-padded.
        crop_size: {"height": h, "width": w}, or (h, w), or one value for both, in pixels; 224 by default.
        do_rescale: multiply by `rescale_factor`.
        rescale_factor: 1/255 by default, which maps bytes to 0..1.
        do_normalize: subtract `image_mean` and divide by `image_std`.
        image_mean: one value per channel, or one for all; OpenAI's by default.
        image_std: one value per channel, or one for all; OpenAI's by default.
        do_convert_rgb: convert PIL images to RGB; arrays are kept as they are.
        **kwargs: other keys of a file; they are kept and written back. `use_square_size=True`, from old files, makes
            `size` a square.

    Example:
        >>> image_processor = CLIPImageProcessor()
        >>> image_processor(Image.new("RGB", (640, 480)), return_tensors="np").pixel_values.shape
        (1, 3, 224, 224)
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]
    is_fast = False
    fetch_images = staticmethod(fetch_images)

    def __init__(
        self,
        do_resize: bool = True,
        size: Size | None = None,
        resample: int = Image.Resampling.BICUBIC,
        do_center_crop: bool = True,
        crop_size: Size | None = None,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: float | Collection[float] | None = None,
        image_std: float | Collection[float] | None = None,
        do_convert_rgb: bool = True,
        **kwargs: Any,
    ) -> None:
        is_square = bool(kwargs.get("use_square_size"))
        if is_square:
            del kwargs["use_square_size"]  # `size` states the square
        super().__init__(**kwargs)
        self.do_resize = do_resize
        self.size = size_dict({"shortest_edge": 224} if size is None else size, "size", square=is_square)
        if is_square and "shortest_edge" in self.size:
            self.size = dict.fromkeys(("height", "width"), self.size["shortest_edge"])
        self.resample = resample
        self.do_center_crop = do_center_crop
        self.crop_size = size_dict(224 if crop_size is None else crop_size, "crop_size", square=True)
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = OPENAI_CLIP_MEAN.copy() if image_mean is None else image_mean
        self.image_std = OPENAI_CLIP_STD.copy() if image_std is None else image_std
        self.do_convert_rgb = do_convert_rgb

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        """See `preprocess`."""
        return self.preprocess(images, **kwargs)

    def preprocess(
        self,
        images: Any,
        do_resize: bool | None = None,
        size: Size | None = None,
        resample: int | None = None,
        do_center_crop: bool | None = None,
        crop_size: Size | None = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: float | Collection[float] | None = None,
        image_std: float | Collection[float] | None = None,
        do_convert_rgb: bool | None = None,
        return_tensors: Any = None,
        data_format: Any = FIRST,
        input_data_format: Any = None,
        num_threads: int | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Preprocess images into pixel values.

        Args:
            images: one image or a batch, possibly nested; see `clip_core.images.inputs.flat_sources`. Values range from
                0 to 255; for values from 0 to 1 pass `do_rescale=False`.
            do_resize: overrides the attribute of this name, like the next ten arguments.
            size: overrides `size`.
            resample: overrides `resample`.
            do_center_crop: overrides `do_center_crop`.
            crop_size: overrides `crop_size`.
            do_rescale: overrides `do_rescale`.
            rescale_factor: overrides `rescale_factor`.
            do_normalize: overrides `do_normalize`.
            image_mean: overrides `image_mean`.
            image_std: overrides `image_std`.
            do_convert_rgb: overrides `do_convert_rgb`.
            return_tensors: the name of a framework's arrays, such as "np"; None for a list of numpy arrays.
            data_format: channel format of the result: "channels_first", "channels_last", or None to keep that of the
                input.
            input_data_format: channel format of arrays: "channels_first", "channels_last", or None to infer it from the
                first array for all. "none" means `(height, width)`, without channels. PIL images and files always have
                their channels last.
            num_threads: number of threads that process the images; None for one per processor, up to 8.
            **kwargs: unknown keywords, reported in a warning.

        Returns:
            `pixel_values`: one array per image, `(channels, height, width)` or `(height, width, channels)`. Their dtype
                is float32; without rescaling, see `ImageSettings.apply`. With `return_tensors`, a single tensor.

        Raises:
            TypeError: if an item is not an image.
            ValueError: if an image or an argument is invalid, or the results differ in size although `return_tensors`
                is given. The message names the image by its index in `images` and its path.
        """
        given = locals()  # the arguments, before any other local is defined
        if kwargs:
            warnings.warn(f"the image processor ignores unknown keywords: {', '.join(sorted(kwargs))}", stacklevel=3)
        check_integers(num_threads=(num_threads, 1), optional=True)
        settings = settings_of(self, given)
        tensor_type = None if return_tensors is None else check_tensor_type(return_tensors)
        processed = list(
            process_images(
                images,
                settings,
                check_channel_format(input_data_format, "input_data_format"),
                check_channel_format(data_format, "data_format"),
                num_threads,
            )
        )
        if not processed:
            raise ValueError("images is empty; give at least one")
        pixel_values = [array for _, array in processed]
        if tensor_type is None:
            return BatchFeature({"pixel_values": pixel_values})
        _check_one_shape(processed)
        # Avoids copying a batch of one.
        batch = pixel_values[0][np.newaxis] if len(pixel_values) == 1 else np.stack(pixel_values)
        return BatchFeature({"pixel_values": batch}, tensor_type)

    @property
    def _valid_processor_keys(self) -> list[str]:
        # Read by the `preprocess` of subclasses written for transformers.
        return inspect.getfullargspec(self.preprocess).args[1:]

    # Individual steps

    def resize(
        self,
        image: np.ndarray,
        size: Size,
        resample: int = Image.Resampling.BICUBIC,
        data_format: Any = None,
        input_data_format: Any = None,
    ) -> np.ndarray:
        """Resize an image, as `preprocess` does.

        Args:
            image: `(height, width, channels)` or `(channels, height, width)`, any real dtype.
            size: the target size, as in the class.
            resample: Pillow's resampling filter.
            data_format: channel format of the result, as in `preprocess`.
            input_data_format: channel format of the image, as in `preprocess`.

        Returns:
            The resized image.

        Raises:
            ValueError: if an argument is invalid.
        """
        sizes = size_dict(size, "size", square=False)

        def step(pixels: np.ndarray) -> np.ndarray:
            height, width, _ = pixels.shape
            return transforms.resize(pixels, transforms.resized_shape(height, width, sizes), resample)

        return on_channels_last(step, image, data_format, input_data_format)

    def center_crop(
        self, image: np.ndarray, size: Size, data_format: Any = None, input_data_format: Any = None
    ) -> np.ndarray:
        """Crop the center of an image, padding with zeros if the image is smaller.

        Args:
            image: as in `resize`.
            size: height and width of the crop, as `crop_size` in the class.
            data_format: as in `resize`.
            input_data_format: as in `resize`.

        Returns:
            The crop, in the image's dtype.

        Raises:
            ValueError: if an argument is invalid.
        """
        sizes = size_dict(size, "size", square=True)
        shape = sizes["height"], sizes["width"]
        return on_channels_last(
            lambda pixels: transforms.center_crop(pixels, shape), image, data_format, input_data_format
        )

    def rescale(
        self, image: np.ndarray, scale: float, data_format: Any = None, input_data_format: Any = None
    ) -> np.ndarray:
        """Multiply an image by a scalar.

        Args:
            image: as in `resize`.
            scale: the factor, such as 1/255.
            data_format: as in `resize`.
            input_data_format: as in `resize`.

        Returns:
            The rescaled image, float32.

        Raises:
            ValueError: if an argument is invalid.
        """
        return on_channels_last(lambda pixels: transforms.rescale(pixels, scale), image, data_format, input_data_format)

    def normalize(
        self,
        image: np.ndarray,
        mean: float | Collection[float],
        std: float | Collection[float],
        data_format: Any = None,
        input_data_format: Any = None,
    ) -> np.ndarray:
        """Subtract the mean from an image and divide by the standard deviation.

        Args:
            image: as in `resize`.
            mean: one value, or one per channel.
            std: one value, or one per channel.
            data_format: as in `resize`.
            input_data_format: as in `resize`.

        Returns:
            The normalized image.

        Raises:
            ValueError: if an argument is invalid.
        """
        return on_channels_last(
            lambda pixels: transforms.normalize(pixels, mean, std), image, data_format, input_data_format
        )


CLIPImageProcessorFast = CLIPImageProcessor


class CLIPFeatureExtractor(CLIPImageProcessor):
    """The deprecated name of `CLIPImageProcessor`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("CLIPFeatureExtractor is deprecated; use CLIPImageProcessor", FutureWarning, stacklevel=2)
        super().__init__(*args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of the attributes, under the new class name."""
        return {**super().to_dict(), "image_processor_type": CLIPImageProcessor.__name__}


def _check_one_shape(processed: list[tuple[str, np.ndarray]]) -> None:
    first_name, first = processed[0]
    for name, array in processed:
        if array.shape != first.shape:
            raise ValueError(
                f"{first_name} has shape {first.shape} after processing, but {name} has shape {array.shape}; crop the "
                "images, resize them to one height and width, or omit return_tensors"
            )
