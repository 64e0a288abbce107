"""A model folder as an MLflow model: code, safetensors and JSON. No pickle is written, none is needed to load it."""

import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

import meltpoint
from meltpoint.model.card import read_card
from meltpoint.serving.responses import IMAGE, answer_columns

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from meltpoint.model.card import Card

INSIDE = "artifacts/model"  # where the model folder is, inside of an MLflow model
NEEDED = (  # what `predict` imports; training's own dependencies stay at home
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pydantic",
    "pyyaml",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "tqdm",
)
NEEDED_BY: dict[str | None, tuple[str, ...]] = {"open_clip": ("open-clip-torch",)}  # by library of the encoder


def write_package(model: Path, example: str, model_id: str, run: str, path: Path) -> None:
    """Write the folder `model` as an MLflow model to `path`, which must not exist.

    `example` is the base64 text of an image file; `model_id` and `run` are MLflow's, and end up in its MLmodel file.
    """
    source = path.with_name(f"{path.name}.source")
    shutil.copytree(model, source / "model")
    shutil.copytree(
        meltpoint.__path__[0], source / "code" / "meltpoint", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    card = read_card(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own modules warn of each other
        from mlflow import pyfunc
        from mlflow.models import Model

        pyfunc.save_model(
            path,
            mlflow_model=Model(model_id=model_id, run_id=run, model_uuid=model_id),
            python_model=source / "code" / "meltpoint" / "serving" / "pyfunc_model.py",
            artifacts={"model": (source / "model").as_uri()},
            code_paths=[str(source / "code" / "meltpoint")],
            signature=signature(card),
            input_example=pd.DataFrame({IMAGE: [example]}),
            pip_requirements=requirements(card),
        )
    shutil.rmtree(source)


def signature(card: "Card") -> "ModelSignature":
    """What goes in and what comes out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    columns = answer_columns(card)
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, IMAGE)]),
        outputs=Schema([ColSpec(DataType[kind], name, required=False) for name, kind in columns.items()]),
    )


def requirements(card: "Card") -> list[str]:
    """The installed versions of what serving needs; a local build such as 2.14.1+cpu is asked for as 2.14.1."""
    needed = (*NEEDED, *NEEDED_BY.get(card.backbone.library, ()))
    return [f"{name}=={version(name).split('+')[0]}" for name in needed]
