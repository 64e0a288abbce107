"""The file MLflow runs to serve a model ("models from code"): it opens the model folder beside it and answers.

Nothing imports it; the package `meltpoint` that travels with the model is the one it was trained with.
"""

import os
from pathlib import Path
from threading import Semaphore
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from meltpoint.serving.request_limits import read_limits
from meltpoint.serving.responses import IMAGE, answer


class PyfuncModel(PythonModel):
    """Rows with an `image` in, rows of `responses.answer_columns` out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the model folder that travels with this file."""
        from meltpoint.tasks.exported import open_any

        self.answerer = open_any(Path(context.artifacts["model"]))
        self.limits, self.turns = read_limits(os.environ), Semaphore(2)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Answer for each row of `model_input`, whose column `image` holds base64 text."""
        # Two at once: the images of one are decoded while the model runs on those of the other. More need more memory.
        with self.turns:
            return answer(self.answerer, model_input[IMAGE], self.limits)


set_model(PyfuncModel())
