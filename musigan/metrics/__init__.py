"""How far generated rolls are from real ones that nobody learned from.

Conventions. A roll is (C, K, T) linear loudness, 1 being its song's level, as a keys store holds it. Metrics look at
loudness as the ear ranks it, sqrt(clip(x, 0, 1)), in [0, 1]. Every set of rolls is first *described*
(musigan/metrics/describing.py): features of each roll, and a small picture of it; all metrics work on descriptions.

The reference is held-out songs. Each row of a table is a set of equal size held against it: the floor (songs that were
learned from), the samples, and baselines made of the training songs that a good judge must tell from music. Scalers,
principal components and clusters are fitted on training songs. What is undefined is NaN.

Intervals are 95 %: the metric plus and minus 1.96 standard deviations of a bootstrap over songs (rolls of one song are
no independent draws), except for the row "song splits", which shows what other splits of the same songs give.

A family of metrics is a module with METRICS and `measure`; `JUDGES` in evaluation.py is the registry.
"""
