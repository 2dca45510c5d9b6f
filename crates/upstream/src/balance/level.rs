//! The endpoints of one priority, by locality: the share of requests that they receive, and the choice of one of them (DR-13).

use super::hashing::Hashing;
use super::line::Line;
use super::member::Member;
use super::table::Shares;
use crate::endpoint::EndpointState;
use ir::{Balance, Balancer, Localities, Locality};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Choices of an endpoint to be avoided before the next endpoint is used instead.
const TRIES: usize = 3;
/// Envoy's overprovisioning factor, in percent: the healthy share of a priority or a locality is multiplied by it. Requests go to others only if
/// the product is below 100 %.
const OVERPROVISIONING: u64 = 140;
/// The scale of a locality's weight while all of its endpoints are healthy.
const WHOLE: u64 = 1000;

/// Endpoints of one priority.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) priority: u32,
    /// The healthy share in percent, multiplied by the overprovisioning factor, at most 100.
    health: u64,
    /// The end of its range of requests, in percent of all requests. A priority without requests has an empty range.
    pub(super) end: u64,
    pub(super) inside: Inside,
}

/// How an endpoint of a priority is chosen.
#[derive(Debug)]
pub(super) enum Inside {
    /// A locality, then an endpoint of it.
    Groups { groups: Box<[Group]>, line: Line },
    /// By hash.
    Hashing(Arc<Hashing>),
}

/// Endpoints of one locality, or of all where localities do not matter.
#[derive(Debug)]
pub(super) struct Group {
    locality: Option<Locality>,
    endpoints: Box<[Arc<EndpointState>]>,
    line: Line,
}

/// Members with the weights that they have now.
type Weighed<'a> = Vec<(&'a Member, u64)>;

/// The endpoints of a priority, and how many are healthy.
struct Standing<'a> {
    priority: u32,
    members: Vec<(&'a Member, u64)>,
    healthy: u64,
}

impl Standing<'_> {
    fn total(&self) -> u64 {
        self.members.len() as u64
    }

    /// The healthy share in percent, multiplied by the overprovisioning factor, at most 100.
    fn health(&self) -> u64 {
        (OVERPROVISIONING * self.healthy).checked_div(self.total()).unwrap_or(0).min(100)
    }
}

/// The priority for a request when some priorities are excluded; `None` if no other priority is healthy.
pub(super) fn others(levels: &[Level], excluded: u32, point: u64) -> Option<&Level> {
    let is_excluded = |level: &Level| 1_u32.checked_shl(level.priority).is_some_and(|bit| excluded & bit != 0);
    let left = || levels.iter().filter(|level| level.health > 0 && !is_excluded(level));
    let whole = left().map(|level| level.health).sum::<u64>().min(100);
    let mut end = 0;
    let share = |level: &&Level| {
        end += (100 * level.health).checked_div(whole).unwrap_or(0);
        point < end
    };
    // The first priority gets the rest that rounding leaves.
    left().find(share).or_else(|| left().next())
}

/// The priorities that have endpoints that may be chosen, in order.
pub(super) fn levels(members: Weighed<'_>, balance: &Balance, before: &[Level]) -> Box<[Level]> {
    let mut standings: BTreeMap<u32, Standing<'_>> = BTreeMap::new();
    for (member, weight) in members {
        let priority = if balance.localities == Localities::Failover { member.priority } else { 0 };
        if weight_of_locality(balance, member.locality.as_ref()) == Some(0) {
            continue;
        }
        let standing =
            standings.entry(priority).or_insert_with(|| Standing { priority, members: Vec::new(), healthy: 0 });
        standing.members.push((member, weight));
        standing.healthy += u64::from(!member.ejected);
    }
    let standings: Vec<Standing<'_>> = standings.into_values().collect();
    let mut end = 0;
    let shares = shares(&standings, u64::from(balance.panic_threshold));
    let with_share = standings.into_iter().zip(shares);
    let chosen = with_share.filter(|(standing, (share, _))| *share > 0 || standing.healthy > 0);
    chosen
        .map(|(standing, (share, panic))| {
            end += share;
            let before = before.iter().find(|level| level.priority == standing.priority);
            let (priority, health) = (standing.priority, standing.health());
            Level { priority, health, end, inside: inside(&standing, panic, balance, before) }
        })
        .collect()
}

/// The share of requests of each priority in percent, and whether unhealthy endpoints are chosen too (panic), as in Envoy.
fn shares(standings: &[Standing<'_>], panic_threshold: u64) -> Vec<(u64, bool)> {
    let health: u64 = standings.iter().map(Standing::health).sum();
    let whole = health.min(100);
    let panics = |one: &Standing<'_>| whole < 100 && 100 * one.healthy < panic_threshold * one.total();
    let hosts: u64 = standings.iter().map(Standing::total).sum();
    let all_panic = standings.iter().all(panics);
    let mut left = if whole == 0 && !all_panic { 0 } else { 100 };
    let mut shares: Vec<(u64, bool)> = Vec::with_capacity(standings.len());
    for one in standings {
        let part =
            if all_panic { (100 * one.total()).checked_div(hosts) } else { (100 * one.health()).checked_div(whole) };
        let share = part.unwrap_or(0).min(left);
        left -= share;
        shares.push((share, panics(one)));
    }
    // The rest that rounding left.
    if let Some((share, _)) = shares.iter_mut().find(|(share, _)| *share > 0) {
        *share += left;
    }
    shares
}

/// The share of a locality, if shares are configured.
fn weight_of_locality(balance: &Balance, locality: Option<&Locality>) -> Option<u32> {
    let Localities::Distribute(shares) = &balance.localities else { return None };
    let of = |(of, _): &&(Option<Locality>, u32)| of.as_ref() == locality;
    Some(shares.iter().find(of).map_or(0, |(_, share)| *share))
}

fn inside(standing: &Standing<'_>, panic: bool, balance: &Balance, before: Option<&Level>) -> Inside {
    let before = before.map(|before| &before.inside);
    let mut by_locality: BTreeMap<Option<&Locality>, Weighed<'_>> = BTreeMap::new();
    for (member, weight) in &standing.members {
        let matters = !panic && balance.localities != Localities::Ignored;
        let locality = member.locality.as_ref().filter(|_| matters);
        by_locality.entry(locality).or_default().push((member, *weight));
    }
    let weighed: Vec<_> = by_locality
        .into_iter()
        .filter_map(|(locality, mut all)| {
            let (total, whole) =
                (all.len() as u64, all.iter().map(|(member, _)| u64::from(member.weight)).sum::<u64>());
            all.retain(|(member, _)| panic || !member.ejected);
            let configured = weight_of_locality(balance, locality).map(u64::from).filter(|_| !panic).unwrap_or(whole);
            let health = (OVERPROVISIONING * all.len() as u64 * WHOLE).checked_div(100 * total)?.min(WHOLE);
            (!all.is_empty()).then_some((locality, configured.saturating_mul(health), all))
        })
        .collect();
    if let Balancer::ConsistentHash(hash) = &balance.balancer {
        let before = before.and_then(|before| match before {
            Inside::Hashing(hashing) => Some(hashing),
            Inside::Groups { .. } => None,
        });
        return Inside::Hashing(Hashing::new(hash.table, parts(&weighed), before));
    }
    let (before, turn) = match before {
        Some(Inside::Groups { groups, line }) => (&**groups, line.turn()),
        Some(Inside::Hashing(_)) | None => (&[][..], 0),
    };
    let line = Line::new(&weighed.iter().map(|(_, weight, _)| *weight).collect::<Vec<_>>(), turn);
    let group = |(locality, _, members): (Option<&Locality>, u64, Weighed<'_>)| {
        let before = before.iter().find(|group| group.locality.as_ref() == locality);
        let weights: Vec<u64> = members.iter().map(|(_, weight)| *weight).collect();
        Group {
            locality: locality.cloned(),
            endpoints: members.into_iter().map(|(member, _)| Arc::clone(&member.endpoint)).collect(),
            line: Line::new(&weights, before.map_or(0, |before| before.line.turn())),
        }
    };
    Inside::Groups { groups: weighed.into_iter().map(group).collect(), line }
}

/// The share of each endpoint: the share of its locality, multiplied by its share within the locality.
fn parts(weighed: &[(Option<&Locality>, u64, Weighed<'_>)]) -> Shares {
    let all: f64 = weighed.iter().map(|(_, weight, _)| *weight as f64).sum();
    let inside = weighed.iter().flat_map(|(_, weight, members)| {
        let sum: f64 = members.iter().map(|(_, weight)| *weight as f64).sum();
        let part = *weight as f64 / all;
        members.iter().map(move |(member, weight)| (Arc::clone(&member.endpoint), part * *weight as f64 / sum))
    });
    inside.collect()
}

impl Group {
    /// The only one, if there is one.
    pub(super) fn only(&self) -> Option<&Arc<EndpointState>> {
        if let [only] = &*self.endpoints { Some(only) } else { None }
    }

    /// Chooses an endpoint. One whose id is in `avoid` is chosen only if no other is found.
    pub(super) fn pick(
        &self,
        balancer: &Balancer,
        random: &mut dyn FnMut() -> u64,
        avoid: &[u64],
    ) -> Option<&Arc<EndpointState>> {
        if let Some(only) = self.only() {
            return Some(only);
        }
        let mut number = 0;
        for _ in 0..TRIES {
            number = self.pick_number(balancer, random)?;
            let picked = self.endpoints.get(number)?;
            if !avoid.contains(&picked.id) {
                return Some(picked);
            }
        }
        self.endpoints.get((number + 1) % self.endpoints.len())
    }

    fn pick_number(&self, balancer: &Balancer, random: &mut dyn FnMut() -> u64) -> Option<usize> {
        match balancer {
            Balancer::Random | Balancer::ConsistentHash(_) => self.line.at(random()),
            Balancer::RoundRobin => self.line.next(),
            Balancer::LeastRequest => {
                let one = self.line.at(random())?;
                let other = self.other_than(one, random())?;
                Some(if self.is_less_loaded(other, one) { other } else { one })
            }
        }
    }

    /// The second choice. If all weights are equal, it differs from the first.
    fn other_than(&self, one: usize, random: u64) -> Option<usize> {
        if !self.line.is_even() {
            return self.line.at(random);
        }
        let others = (self.endpoints.len() as u64).checked_sub(1)?;
        let step = usize::try_from(random.checked_rem(others)?).ok()? + 1;
        Some((one + step) % self.endpoints.len())
    }

    /// Whether `one` has fewer requests for its weight. If both are idle, neither has, and the first choice stays, which depends on weights alone.
    fn is_less_loaded(&self, one: usize, other: usize) -> bool {
        let active = |number: usize| self.endpoints.get(number).map_or(0, |endpoint| u64::from(endpoint.active()));
        active(one).saturating_mul(self.line.weight(other)) < active(other).saturating_mul(self.line.weight(one))
    }
}
