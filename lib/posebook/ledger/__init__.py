"""The ledger of claims: what a paper says, what was measured here, on what, from how many seeds, and whether it holds.

    rows = measure(select(["soft_argmax"]), "figures", "study", budget=90 * 60)
    print(render(rows))

A claim is a number that lies above a bound if the paper is right. It is measured once a seed; where networks are
compared it is their difference on that seed, and they differ in nothing but what the claim is about. What is read off
each trained network is stored (`readings`); all else follows from that store, so that seeds accumulate, over sessions
and machines. The verdict follows from Student's 95 % interval over eight seeds: the claim holds where all of the
interval is above the bound, it does not hold where all of it is below, and is undecided otherwise. All seeds are tested
on the same people, so that the interval tells of training alone, not of another choice of people.
"""
