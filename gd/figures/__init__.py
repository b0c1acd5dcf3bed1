"""The pictures of a run, each with the sentence that it shows and an alt text made from its numbers."""

from gd.figures.convergence import PNG_WIDTH, loss_png, loss_words
from gd.figures.drawing import draw
from gd.figures.picture import POINTS, Picture, decimate
from gd.figures.style import THEMED

__all__ = ["PNG_WIDTH", "POINTS", "THEMED", "Picture", "decimate", "draw", "loss_png", "loss_words"]
