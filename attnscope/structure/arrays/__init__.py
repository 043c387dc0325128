"""The mathematics of `attnscope.structure` on plain arrays: numpy and scipy only, no labels.

Legend for every module here: `mass` is `(..., F, F)` (query frame, key frame), `shot` is `(..., F)` with -1 for
"not known"; leading axes broadcast against each other. The labelled functions one level up add names to the axes.
"""
