import pytest

from typedwave.lab.comparison.by_word import WordDifference
from typedwave.lab.comparison.groups import Losses, compare
from typedwave.lab.comparison.significance import Interval
from typedwave.lab.comparison.verdict import tables, verdict, verdict_of_words

SMALL = Losses("n_embd=10", {1: 2.0225, 2: 2.0272, 3: 2.0226, 4: 2.0243, 5: 2.0238, 6: 2.0251})
LARGE = Losses("n_embd=24", {1: 1.9937, 2: 1.9921, 3: 1.9950, 4: 1.9949, 5: 1.9933, 6: 1.9944})
OTHER = Losses("n_embd=11", {11: 2.0221, 12: 2.0262, 13: 2.0231, 14: 2.0262})
ONE = Losses("n_embd=12", {1: 2.0171})
LEVEL = Losses("ngram", dict.fromkeys(range(1, 7), 2.1))
BELOW = Losses("pool", dict.fromkeys(range(1, 7), 1.95))
FAR = Losses("far", {1: 2.5, 2: 2.25})
NEAR = Losses("near", {1: 2.4, 2: 2.3})


def test_the_tables_of_two_groups():
    assert (
        tables(compare([LARGE], against=SMALL, loss="test"))
        == """\
test loss, nats a character

           n    mean       s  95 % of the mean     min     max
n_embd=24  6  1.9939  0.0011  1.9927 to 1.9951  1.9921  1.9950
n_embd=10  6  2.0242  0.0018  2.0224 to 2.0261  2.0225  2.0272

against n_embd=10

           difference                95 %  t-test p  permutation p    test      r
n_embd=24     -0.0304  -0.0331 to -0.0276  < 0.0001          0.031  paired  -0.62

paired: by paired t-test, since the seeds are the same; r is what they share
permutation: sign-flip permutation test, exact"""
    )


def test_the_tables_of_many_groups():
    assert (
        tables(compare([SMALL, LARGE, OTHER, ONE, LEVEL]))
        == """\
validation loss, nats a character

           n    mean       s  95 % of the mean     min     max
n_embd=10  6  2.0242  0.0018  2.0224 to 2.0261  2.0225  2.0272
n_embd=24  6  1.9939  0.0011  1.9927 to 1.9951  1.9921  1.9950
n_embd=11  4  2.0244  0.0021  2.0210 to 2.0278  2.0221  2.0262
n_embd=12  1  2.0171       -                 -  2.0171  2.0171
ngram      6  2.1000  0.0000  2.1000 to 2.1000  2.1000  2.1000

against n_embd=24, which has the lowest mean

           difference                   95 %  t-test p, Holm  permutation p, Holm    test      r
n_embd=10     +0.0304     +0.0276 to +0.0331        < 0.0001                0.062  paired  -0.62
n_embd=11     +0.0305     +0.0273 to +0.0337        < 0.0001                0.029   Welch      -
n_embd=12     +0.0232  one run has no spread               -                    -       -      -
ngram         +0.1061     +0.1049 to +0.1073        < 0.0001                0.062  paired      -

paired: by paired t-test, since the seeds are the same; r is what they share
Welch: by Welch's t-test, since the seeds are not the same
permutation: sign-flip permutation test, exact
permutation: permutation test, exact
Holm: Holm's correction of p for 3 tests; each interval is by itself
the lowest of several means owes some to luck: better name a group beforehand"""
    )


def test_luck_is_told_of_where_the_best_of_several_is_chosen():
    luck = "the lowest of several means owes some to luck: better name a group beforehand"
    assert luck in tables(compare([SMALL, LARGE, OTHER]))
    assert luck not in tables(compare([SMALL, LARGE]))
    assert luck not in tables(compare([SMALL, LARGE], against=OTHER))


def test_the_tables_of_one_group_and_of_runs_without_spread():
    assert tables(compare([ONE])) == (
        """\
validation loss, nats a character

           n    mean  s  95 % of the mean     min     max
n_embd=12  1  2.0171  -                 -  2.0171  2.0171"""
    )
    assert (
        tables(compare([ONE], against=LEVEL))
        == """\
validation loss, nats a character

           n    mean       s  95 % of the mean     min     max
n_embd=12  1  2.0171       -                 -  2.0171  2.0171
ngram      6  2.1000  0.0000  2.1000 to 2.1000  2.1000  2.1000

against ngram

           difference                   95 %  t-test p  permutation p  test  r
n_embd=12     -0.0829  one run has no spread         -              -     -  -"""
    )
    assert (
        tables(compare([BELOW], against=LEVEL))
        == """\
validation loss, nats a character

       n    mean       s  95 % of the mean     min     max
pool   6  1.9500  0.0000  1.9500 to 1.9500  1.9500  1.9500
ngram  6  2.1000  0.0000  2.1000 to 2.1000  2.1000  2.1000

against ngram

      difference       95 %  t-test p  permutation p    test  r
pool     -0.1500  no spread         -          0.031  paired  -

paired: by paired t-test, since the seeds are the same; r is what they share
permutation: sign-flip permutation test, exact"""
    )


@pytest.mark.parametrize(
    ("groups", "against", "said"),
    [
        (
            [LARGE],
            SMALL,
            "The validation loss of n_embd=24 is lower than that of n_embd=10 by 0.0304 nats a "
            "character (95 % interval 0.0276 to 0.0331): p < 0.0001 by a paired t-test, p = 0.031 "
            "by a sign-flip permutation test, exact; 6 of 6 seeds agree in the direction.",
        ),
        (
            [SMALL],
            LARGE,
            "The validation loss of n_embd=10 is higher than that of n_embd=24 by 0.0304 nats a "
            "character (95 % interval 0.0276 to 0.0331): p < 0.0001 by a paired t-test, p = 0.031 "
            "by a sign-flip permutation test, exact; 6 of 6 seeds agree in the direction.",
        ),
        (
            [OTHER],
            SMALL,
            "No difference is shown. The validation loss of n_embd=11 is higher than that of "
            "n_embd=10 by 0.0001 nats a character (95 % interval -0.0030 to 0.0033): p = 0.91 by "
            "Welch's t-test, p = 0.92 by a permutation test, exact. One of 0.0044 would be shown "
            "by four such experiments in five.",
        ),
        (
            [FAR],
            NEAR,
            "No difference is shown. The validation loss of far is higher than that of near by "
            "0.0250 nats a character (95 % interval -0.9280 to 0.9780): p = 0.8 by a paired "
            "t-test, p = 1 by a sign-flip permutation test, exact (so few seeds cannot bring it "
            "below 0.5); 1 of 2 seeds agree in the direction. One of 1.2251 would be shown by four "
            "such experiments in five.",
        ),
        (
            [ONE],
            SMALL,
            "The validation loss of n_embd=12 is lower than that of n_embd=10 by 0.0071 nats a "
            "character, but one run has no spread: to tell it from chance takes at least two runs "
            "of each, with other seeds.",
        ),
        (
            [LEVEL],
            BELOW,
            "The validation loss of ngram is higher than that of pool by 0.1500 nats a character, "
            "the same with every seed: there is no spread for a t-test to go by; p = 0.031 by a "
            "sign-flip permutation test, exact.",
        ),
        (
            [LEVEL],
            Losses("other pool", {8: 1.95, 9: 1.95}),
            "The validation loss of ngram is higher than that of other pool by 0.1500 nats a "
            "character, the same in every run: there is no spread for a t-test to go by; p = 0.071 "
            "by a permutation test, exact.",
        ),
        (
            [LEVEL],
            Losses("ngram again", LEVEL.by_seed),
            "ngram and ngram again have the same loss in every run.",
        ),
        ([LEVEL], None, "There is one group, and nothing to compare it with."),
        (
            [SMALL, LARGE, LEVEL, ONE, BELOW],
            OTHER,
            "Higher than n_embd=11: ngram.\n"
            "Lower than n_embd=11: n_embd=24; pool.\n"
            "No difference is shown for: n_embd=10.\n"
            "No test, since one run has no spread: n_embd=12.",
        ),
        (
            [LEVEL, SMALL],
            BELOW,
            "Higher than pool: n_embd=10.\nNo t-test, since there is no spread: ngram.",
        ),
    ],
)
def test_the_verdict(groups, against, said):
    assert verdict(compare(groups, against=against)) == said


def test_the_verdict_of_many_goes_by_p_after_holms_correction():
    base = Losses("base", {1: 2.00, 2: 2.01, 3: 2.02, 4: 2.03})
    a = Losses("a", {1: 2.02, 2: 2.02, 3: 2.04, 4: 2.04})
    b = Losses("b", {1: 2.01, 2: 2.03, 3: 2.04, 4: 2.04})
    assert compare([a], against=base).rows[0].p_holm == pytest.approx(0.0138, abs=1e-3)
    assert verdict(compare([a], against=base)).startswith("The validation loss of a is higher")
    many = [Losses(f"a{n}", a.by_seed) for n in range(4)]
    assert verdict(compare([*many, b], against=base)) == (
        "No difference is shown for: a0; a1; a2; a3; b."
    )


def test_the_verdict_of_words():
    row = compare([SMALL], against=LARGE).rows[0]
    found = WordDifference(3_203, 0.0304, Interval(0.02, 0.04), 1_001, 2_200)
    assert verdict_of_words(row, "n_embd=24", found) == (
        "With the same networks and other words like these, n_embd=10 is higher than n_embd=24 by "
        "0.0304 (95 % interval 0.0200 to 0.0400, by a BCa bootstrap of the words); 2,200 of 3,203 "
        "words agree in the direction. With other seeds and other words, about: 95 % interval "
        "0.0200 to 0.0407."
    )


def test_the_verdict_of_words_where_seeds_say_nothing():
    row = compare([ONE], against=LARGE).rows[0]
    found = WordDifference(3_203, -0.0304, Interval(-0.05, -0.03), 2_200, 1_001)
    assert verdict_of_words(row, "n_embd=24", found) == (
        "With the same networks and other words like these, n_embd=12 is lower than n_embd=24 by "
        "0.0304 (95 % interval 0.0300 to 0.0500, by a BCa bootstrap of the words); 2,200 of 3,203 "
        "words agree in the direction."
    )
