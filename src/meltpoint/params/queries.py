"""Where the vectors of a head of queries come from, and what names are put into before a text encoder reads them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from meltpoint.params.base import Section
from meltpoint.params.model import Backbone, FileWeights

Template = Annotated[str, Field(pattern=r"\{\}")]  # a text with {} in place of the name
Prompts = Literal["short", "openai"] | Annotated[list[Template], Field(min_length=1)]


class TextQueries(Section):
    """The vectors of the names of tags, by a text encoder: so that the head can be asked for other words, too."""

    kind: Literal["text"]
    encoder: Backbone | None = None  # whose text side; null: that of the encoder under the head
    prompts: Prompts | None = None  # what names are put into; null: nothing
    fixed: bool = False  # whether they stay as they are while the head learns

    @property
    def files(self) -> list[str]:
        """Files that are read, besides those of the encoder under the head."""
        weights = None if self.encoder is None else self.encoder.weights
        return [weights.path] if isinstance(weights, FileWeights) else []

    def without_folders(self) -> "TextQueries":
        """The same, with the names of files in place of their paths."""
        return self.model_copy(update={"encoder": self.encoder and self.encoder.without_folders()})


class FileQueries(Section):
    """The vectors of a file, one for each line of a list of tags, which holds all tags of the data and maybe others."""

    kind: Literal["file"]
    path: str  # a .npy, or a .safetensors with one tensor: (tags, width)
    tags: str  # UTF-8, a tag a line
    fixed: bool = False  # whether they stay as they are while the head learns

    @property
    def files(self) -> list[str]:
        """Files that are read."""
        return [self.path, self.tags]

    def without_folders(self) -> "FileQueries":
        """The same, with the names of files in place of their paths."""
        return self.model_copy(update={"path": Path(self.path).name, "tags": Path(self.tags).name})


Queries = Annotated[TextQueries | FileQueries, Field(discriminator="kind")]
