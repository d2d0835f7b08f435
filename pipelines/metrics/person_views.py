"""The views of a person. They are never shown about one person and nobody is ranked by them: teams and findings use them."""

from __future__ import annotations

from functools import partial

import numpy as np

from pipelines.evidence import SubjectKind
from pipelines.metrics import centrality, cohesion, sampling
from pipelines.metrics.cohesion import share
from pipelines.metrics.facts import Facts
from pipelines.metrics.snapshot import Part
from pipelines.metrics.view import MESSAGES, Column, View, view

_person = partial(view, SubjectKind.PERSON)
#: With probability 1 - delta every sampled betweenness is within epsilon of the exact one.
_EPSILON, _DELTA = 0.001, 0.1


@_person(1, "people", Part.PAIRS)
def degree(f: Facts) -> Column:
    """People with whom there is a tie in either direction."""
    return f.graph.degrees()


@_person(1, MESSAGES, Part.STRENGTH)
def strength(f: Facts) -> Column:
    """Strength of all ties inside the organisation: 1 is one direct message a moment ago, a half one two weeks ago."""
    return f.graph.strengths()


@_person(1, MESSAGES, Part.STRENGTH)
def strength_out(f: Facts) -> Column:
    """Strength of what the person turned to others with, inside the organisation."""
    return f.arcs.strengths()


@_person(1, MESSAGES, Part.STRENGTH)
def strength_in(f: Facts) -> Column:
    """Strength of what others turned to the person with, inside the organisation."""
    return np.bincount(f.arcs.indices, weights=f.arcs.weights, minlength=f.n)


@_person(1, "share", Part.ARCS)
def reciprocity(f: Facts) -> Column:
    """Of the people turned to and those who turned to the person, the share that is both, counted from each side."""
    return cohesion.reciprocity(f.arcs)


@_person(1, "share", Part.PAIRS)
def betweenness(f: Facts) -> Column:
    """Share of the shortest paths between two others that run through the person (Freeman 1977), all ties alike long. Exact;
    above 150,000 people from sampled paths, within 0.001 of the truth for everybody at once in nine of ten cases."""
    if f.n > centrality.EXACT_PEOPLE:
        return sampling.betweenness(f.graph, epsilon=_EPSILON, delta=_DELTA, progress=f.progress).values
    return centrality.betweenness(f.graph, normalized=True, progress=f.progress)


@_person(1, "share", Part.STRENGTH)
def betweenness_weighted(f: Facts) -> Column:
    """As betweenness, a tie being 1/strength long: paths run along strong ties (Brandes 2001). Not above 150,000 people."""
    if f.n > centrality.EXACT_PEOPLE:
        return np.full(f.n, np.nan)
    return centrality.betweenness(f.lengths, weighted=True, normalized=True, progress=f.progress)


@_person(1, "share", Part.PAIRS)
def harmonic(f: Facts) -> Column:
    """Mean of 1/steps to everybody else, 0 for whom nobody reaches (harmonic closeness; Rochat 2009)."""
    return share(centrality.harmonic(f.graph, progress=f.progress), np.full(f.n, f.n - 1))


@_person(1, "share", Part.PAIRS)
def clustering(f: Facts) -> Column:
    """Share of the pairs of contacts who are in contact themselves, 0 for fewer than two (Watts and Strogatz 1998)."""
    return f.clustering


@_person(1, "share", Part.STRENGTH)
def clustering_weighted(f: Facts) -> Column:
    """As clustering, each triangle counting with the geometric mean of its strengths / the strongest tie (Onnela 2005)."""
    return centrality.clustering(f.graph, weighted=True)


@_person(1, "index", Part.STRENGTH)
def constraint(f: Facts) -> Column:
    """How much the contacts are in contact with each other, by strength (Burt 1992): high is closed in, low bridges gaps."""
    return centrality.constraint(f.graph)


@_person(1, "people", Part.PAIRS)
def effective_size(f: Facts) -> Column:
    """Contacts less what they share among themselves: how many separate circles (Burt 1992, Borgatti 1997)."""
    return centrality.effective_size(f.graph)


@_person(1, "people", Part.PAIRS)
def kcore(f: Facts) -> Column:
    """The largest k of a group in which each has k ties within the group (Seidman 1983)."""
    return centrality.kcore(f.graph)


@_person(1, "share", Part.STRENGTH)
def pagerank(f: Facts) -> Column:
    """Share of attention that ends up here when it is handed on along ties by strength (Brin and Page 1998, 0.85)."""
    return centrality.pagerank(f.arcs)


@_person(1, "label", Part.STRENGTH)
def community(f: Facts) -> Column:
    """Which community the person belongs to (Leiden on strength); the number only says who is together."""
    return np.where(f.graph.degrees() > 0, f.communities, np.nan)


@_person(1, "index", Part.PAIRS, Part.TEAMS)
def ei_index(f: Facts) -> Column:
    """Ties outside the own team less those inside / both (Krackhardt and Stern 1988): -1 all inside, 1 all outside."""
    return cohesion.ei_index(f.graph, f.snapshot.team)


@_person(1, "share", Part.STRENGTH, Part.OUTSIDE)
def external_share(f: Facts) -> Column:
    """Share of strength that is with people outside the organisation."""
    return share(f.snapshot.outside, f.snapshot.outside + f.graph.strengths())


@_person(1, "index", Part.EVENTS)
def burstiness(f: Facts) -> Column:
    """How uneven the gaps between acts are (Goh and Barabasi 2008, Kim and Jo 2016): -1 a clock, 0 chance, 1 bursts."""
    assert f.snapshot.gaps is not None, "a snapshot without acts has no digest of them"
    assert f.snapshot.gap_offsets is not None
    return cohesion.burstiness(f.snapshot.gaps, f.snapshot.gap_offsets)


VIEWS: tuple[View, ...] = (
    degree,
    strength,
    strength_out,
    strength_in,
    reciprocity,
    harmonic,
    clustering,
    clustering_weighted,
    constraint,
    effective_size,
    kcore,
    pagerank,
    community,
    ei_index,
    external_share,
    burstiness,
    betweenness,
    betweenness_weighted,
)
