"""The exercises in their order. To add one: a file beside this one, and a line here."""

from __future__ import annotations

from ulmfit.exercises.ex01_numericalise import NUMERICALISE
from ulmfit.exercises.ex02_lm_stream import LM_STREAM
from ulmfit.exercises.ex03_transplant import TRANSPLANT
from ulmfit.exercises.ex04_slanted_triangular import SLANTED_TRIANGULAR
from ulmfit.exercises.ex05_discriminative_rates import DISCRIMINATIVE_RATES
from ulmfit.exercises.ex06_gradual_unfreezing import GRADUAL_UNFREEZING
from ulmfit.exercises.ex07_concat_pooling import CONCAT_POOLING
from ulmfit.exercises.ex08_perplexity import PERPLEXITY
from ulmfit.exercises.ex09_calibration_error import CALIBRATION_ERROR
from ulmfit.exercises.exercise import Exercise

EXERCISES: dict[str, Exercise] = {
    "ex01": NUMERICALISE,
    "ex02": LM_STREAM,
    "ex03": TRANSPLANT,
    "ex04": SLANTED_TRIANGULAR,
    "ex05": DISCRIMINATIVE_RATES,
    "ex06": GRADUAL_UNFREEZING,
    "ex07": CONCAT_POOLING,
    "ex08": PERPLEXITY,
    "ex09": CALIBRATION_ERROR,
}
