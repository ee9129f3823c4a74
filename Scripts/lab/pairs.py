"""Statistics of paired runs: ratios inside a block, their bootstrap interval, and what may be said about them.

A block runs every configuration once and the baseline twice, close together in time. What the machine does to a whole block
cancels in its ratios. The second run of the baseline against the first is the noise floor of that row: the size of a
difference that nobody made.
"""
import math
import random
import statistics

RESAMPLES = 4000
CONFIDENCE = 0.95
# Below this many blocks the interval is too short to be believed, so no verdict is given.
BLOCKS_MIN = 6
# Differences smaller than this are of no interest even when they are certain.
EFFECT_MIN = 0.03
# An interval wider than this is never called the same, however noisy the row is.
SAME_MAX = 0.10


def logs(numerators, denominators):
    """-> log ratios, pair by pair."""
    return [math.log(above / below) for above, below in zip(numerators, denominators)]


def student(tail, freedom):
    """-> the point of Student's t distribution beyond which `tail` of it lies; by bisection over its density."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))

    def beyond(point):
        steps = 400
        width = point / steps
        total = sum((1 if step in (0, steps) else 4 if step % 2 else 2) * (1 + (step * width) ** 2 / freedom)
                    ** (-(freedom + 1) / 2) for step in range(steps + 1))
        return 0.5 - scale * total * width / 3

    low, high = 0.0, 100.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > tail else (low, middle)
    return high


def interval(values, seed, confidence=CONFIDENCE):
    """-> (mean, low, high): bootstrap percentiles of the mean, at the level that makes up for few values (the expanded
    percentile interval: Hesterberg, The American Statistician 69, 2015)."""
    count, middle = len(values), statistics.fmean(values)
    if count < 3:
        return middle, middle, middle
    wanted = math.sqrt(count / (count - 1)) * student((1 - confidence) / 2, count - 1)
    tail = 1 - statistics.NormalDist().cdf(wanted)
    dice = random.Random(seed)
    means = sorted(statistics.fmean(dice.choices(values, k=count)) for _ in range(RESAMPLES))
    last = len(means) - 1
    return middle, means[int(tail * last)], means[math.ceil((1 - tail) * last)]


def floor(values, seed):
    """-> the largest |log ratio| that a pair of equal runs leaves open: the far end of its interval."""
    _, low, high = interval(values, seed)
    return max(abs(low), abs(high))


def verdict(middle, low, high, noise, blocks):
    """faster, slower: the interval leaves out 1 and the middle is beyond the noise floor and the least effect of interest.
    same: the interval lies inside that band and within SAME_MAX. Otherwise ~: these runs can't tell."""
    if blocks < BLOCKS_MIN:
        return "–"
    band = max(noise, math.log(1 + EFFECT_MIN))
    if low > 0 and middle > band:
        return "faster"
    if high < 0 and middle < -band:
        return "slower"
    if max(-low, high) <= min(band, math.log(1 + SAME_MAX)):
        return "same"
    return "~"


def compare(baseline, again, other, seed):
    """Samples of one row, one per block, higher is better -> what stands in the table."""
    # Both runs of the baseline measure it; their mean halves its share of the noise.
    both = [math.sqrt(first * second) for first, second in zip(baseline, again)]
    noise = floor(logs(again, baseline), seed)
    middle, low, high = interval(logs(other, both), seed)
    return dict(baseline=statistics.median(both), other=statistics.median(other), ratio=math.exp(middle), low=math.exp(low),
                high=math.exp(high), noise=math.exp(noise) - 1, blocks=len(other),
                verdict=verdict(middle, low, high, noise, len(other)))
