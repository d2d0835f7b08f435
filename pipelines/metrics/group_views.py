"""The views of teams, of pairs of teams, and of the whole organisation."""

from __future__ import annotations

from functools import partial

import numpy as np

from pipelines.evidence import SubjectKind
from pipelines.metrics import cohesion, teams
from pipelines.metrics.community import modularity
from pipelines.metrics.facts import Facts
from pipelines.metrics.snapshot import Part
from pipelines.metrics.view import MESSAGES, Column, View, view

_team = partial(view, SubjectKind.TEAM)
_pair = partial(view, SubjectKind.TEAM_PAIR)
_org = partial(view, SubjectKind.ORG)


@_team(1, "people", Part.TEAMS)
def team_people(f: Facts) -> Column:
    """Members."""
    people: Column = f.teams.people
    return people


@_team(1, "share", Part.PAIRS, Part.TEAMS)
def team_density(f: Facts) -> Column:
    """Pairs of members between whom there is a tie / all pairs of members."""
    return teams.density(f.teams)


@_team(1, "share", Part.ARCS, Part.TEAMS)
def team_reciprocity(f: Facts) -> Column:
    """Of the directed ties inside the team, the share that is answered by one the other way."""
    return teams.reciprocity(f.teams)


@_team(1, "index", Part.PAIRS, Part.TEAMS)
def team_ei_index(f: Facts) -> Column:
    """Ties that leave the team less those inside / both (Krackhardt and Stern 1988): -1 closed, 1 all outside."""
    return teams.ei_index(f.teams)


@_team(1, "index", Part.STRENGTH, Part.TEAMS)
def team_silo_index(f: Facts) -> Column:
    """Strength kept inside beyond what chance would keep there (Coleman 1958): 0 mixes by chance, 1 is a silo."""
    return teams.silo_index(f.teams)


@_team(1, "people", Part.PAIRS, Part.TEAMS)
def team_bridges(f: Facts) -> Column:
    """Members without whom somebody in the organisation would lose contact with the rest (articulation points)."""
    return teams.counted(f.bridges[0], f.snapshot.team, len(f.snapshot.teams))


@_team(1, "share", Part.PAIRS, Part.TEAMS)
def team_removal_loss(f: Facts) -> Column:
    """Largest share of the others who would lose contact with the rest if one member were away."""
    return teams.most_lost(f.bridges[1], f.snapshot.team, len(f.snapshot.teams))


@_pair(1, MESSAGES, Part.STRENGTH, Part.TEAMS)
def pair_strength(f: Facts) -> Column:
    """Strength of all ties between the two teams."""
    return f.pairs.strength


@_pair(1, "share", Part.PAIRS, Part.TEAMS)
def pair_density(f: Facts) -> Column:
    """Pairs of people, one of each team, between whom there is a tie / all such pairs."""
    return teams.pair_density(f.pairs, f.teams)


@_pair(1, "share", Part.STRENGTH, Part.TEAMS)
def pair_share(f: Facts) -> Column:
    """Of all strength in which one of the two teams has part, the share that lies between them."""
    return teams.pair_share(f.pairs, f.teams)


@_pair(1, "share", Part.STRENGTH, Part.TEAMS)
def pair_hinge(f: Facts) -> Column:
    """Share of what lies between the two teams that would go with one person: 1 when all of it hangs on somebody."""
    return teams.pair_hinge(f.pairs)


@_org(1, "people", Part.PEOPLE)
def org_people(f: Facts) -> Column:
    """People inside the organisation, those without a tie included."""
    return np.array([f.n])


@_org(1, "ties", Part.PAIRS)
def org_ties(f: Facts) -> Column:
    """Pairs of people between whom there is a tie."""
    return np.array([f.graph.m])


@_org(1, "share", Part.PAIRS)
def org_density(f: Facts) -> Column:
    """Pairs of people between whom there is a tie / all pairs of people."""
    return cohesion.share(np.array([f.graph.m]), np.array([f.n * (f.n - 1) / 2]))


@_org(1, "share", Part.ARCS)
def org_reciprocity(f: Facts) -> Column:
    """Of the directed ties, the share that is answered by one the other way."""
    back = cohesion.mutual(f.arcs)
    return cohesion.share(np.array([back.sum()]), np.array([len(back)]))


@_org(1, "index", Part.STRENGTH)
def org_modularity(f: Facts) -> Column:
    """How clearly the organisation falls into communities (Newman 2004, of the Leiden partition, by strength)."""
    return np.array([modularity(f.graph, f.communities)])


@_org(1, "communities", Part.STRENGTH)
def org_communities(f: Facts) -> Column:
    """Communities of two people or more."""
    return np.array([len(np.unique(f.communities[f.graph.degrees() > 0]))])


@_org(1, "index", Part.STRENGTH, Part.TEAMS)
def org_team_modularity(f: Facts) -> Column:
    """How clearly the organisation falls into its teams: modularity with teams for communities, by strength."""
    alone = f.snapshot.team < 0  # who has no known team is a team of one
    labels = np.where(alone, len(f.snapshot.teams) + np.cumsum(alone), f.snapshot.team)
    return np.array([modularity(f.graph, labels)])


@_org(1, "share", Part.PAIRS)
def org_largest_component(f: Facts) -> Column:
    """Share of the people in the largest group in which everybody can reach everybody."""
    return cohesion.share(np.array([(f.components == 0).sum()]), np.array([f.n]))


@_org(1, "share", Part.PAIRS)
def org_clustering(f: Facts) -> Column:
    """Mean clustering of all people, who has fewer than two contacts counting as 0 (Watts and Strogatz 1998)."""
    return cohesion.share(np.array([f.clustering.sum()]), np.array([f.n]))


@_org(1, "index", Part.PAIRS)
def org_assortativity(f: Facts) -> Column:
    """Whether people with many ties are tied to their like (Newman 2002): -1 to 1."""
    return np.array([cohesion.assortativity(f.graph)])


@_org(1, "steps", Part.PAIRS)
def org_diameter(f: Facts) -> Column:
    """The longest of the shortest paths in the largest component; not computed above 20,000 people."""
    return np.array([f.eccentricities.max() if len(f.eccentricities) else np.nan])


@_org(1, "steps", Part.PAIRS)
def org_radius(f: Facts) -> Column:
    """Steps that the most central person of the largest component needs to the furthest; not above 20,000."""
    return np.array([f.eccentricities.min() if len(f.eccentricities) else np.nan])


VIEWS: tuple[View, ...] = (
    team_people,
    team_density,
    team_reciprocity,
    team_ei_index,
    team_silo_index,
    team_bridges,
    team_removal_loss,
    pair_strength,
    pair_density,
    pair_share,
    pair_hinge,
    org_people,
    org_ties,
    org_density,
    org_reciprocity,
    org_modularity,
    org_communities,
    org_team_modularity,
    org_largest_component,
    org_clustering,
    org_assortativity,
    org_diameter,
    org_radius,
)
