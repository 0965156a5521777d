"""Checks of the notebooks' exercises, a module per notebook folder. They say what is wrong, not what is right.

from posebook.check import start as check

check.half_pixel(answer_1)
"""
