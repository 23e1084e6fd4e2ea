"""Metrics: how far generated rolls are from held-out real ones.

Conventions. A roll is (C, K, T) linear loudness, 1 being its song's level, as a keys store holds it. Metrics use
compressed loudness, close to how the ear ranks it: sqrt(clip(x, 0, 1)), in [0, 1]. Every set of rolls is first
*described* (musigan/metrics/describing.py): features of each roll, and a small picture of it. All metrics work on
descriptions.

The reference is held-out songs. Each row of a table compares a set of equal size with it: the floor (songs that were
trained on), the samples, and baselines made of the training songs that a good judge must tell from music. Scalers,
principal components and clusters are fitted on training songs. Undefined values are NaN.

Intervals are 95 %: the metric plus and minus 1.96 standard deviations of a bootstrap over songs (rolls of one song are
not independent draws). The row "song splits" is an exception: it shows what other splits of the same songs give.

A family of metrics is a module with METRICS and `measure`; `JUDGES` in evaluation.py is the registry.
"""
