//! How a cluster's endpoints are chosen (DR-10 to DR-13).

use crate::destination_rules::Effective;
use ir::{
    Balance, Balancer, ConsistentHash, CookieName, CookieText, HashCookie, HashKey, HashTable, Localities, Warmup,
};
use resources::spec::destination_rule::{self as written, LoadBalancer, SimpleBalancer};
use resources::spec::scalar;
use std::sync::{Arc, LazyLock};

/// Points of a ring and entries of Maglev's table where nobody says otherwise (DR-11).
const RING: u64 = 1024;
const MAGLEV: u64 = 65_537;
/// DR-12.
const MINIMUM_PERCENT: f64 = 10.0;
const AGGRESSION: f64 = 1.0;

/// One for all clusters of which nothing is said, for there are many.
static USUAL: LazyLock<Arc<Balance>> = LazyLock::new(|| Balancer::LeastRequest.into());

/// What a policy says; `localities` is what it matters where endpoints are.
pub(crate) fn compile(effective: Effective<'_>, localities: Localities) -> Arc<Balance> {
    let balance = balance(effective, localities);
    if balance == **USUAL { Arc::clone(&USUAL) } else { Arc::new(balance) }
}

fn balance(effective: Effective<'_>, localities: Localities) -> Balance {
    let policy = effective.load_balancer;
    let hash = policy.and_then(|policy| policy.consistent_hash.as_deref());
    let balancer = match hash {
        Some(hash) => Balancer::ConsistentHash(Arc::new(consistent_hash(hash))),
        None => simple(policy.and_then(|policy| policy.simple)),
    };
    let by_weight = matches!(balancer, Balancer::RoundRobin | Balancer::LeastRequest);
    Balance {
        warmup: policy.filter(|_| by_weight).and_then(warmup),
        balancer,
        localities,
        panic_threshold: panic_threshold(effective),
    }
}

/// DR-10. What does not act falls back to the default, which the report of the DestinationRule says.
fn simple(balancer: Option<SimpleBalancer>) -> Balancer {
    match balancer {
        Some(SimpleBalancer::RoundRobin) => Balancer::RoundRobin,
        Some(SimpleBalancer::Random) => Balancer::Random,
        Some(
            SimpleBalancer::LeastConn
            | SimpleBalancer::LeastRequest
            | SimpleBalancer::Passthrough
            | SimpleBalancer::Unspecified,
        )
        | None => Balancer::LeastRequest,
    }
}

/// DR-11.
fn consistent_hash(hash: &written::ConsistentHash) -> ConsistentHash {
    let or = |size: u64, default: u64| if size == 0 { default } else { size };
    let table = match (&hash.ring_hash, &hash.maglev) {
        (None, Some(maglev)) => HashTable::Maglev { size: or(maglev.table_size, MAGLEV) },
        (Some(ring), _) => HashTable::Ring { minimum_size: or(ring.minimum_ring_size, RING) },
        (None, None) => HashTable::Ring { minimum_size: or(hash.minimum_ring_size.unwrap_or(0), RING) },
    };
    ConsistentHash { key: key(hash), table }
}

fn key(hash: &written::ConsistentHash) -> Option<HashKey> {
    if let Some(name) = &hash.http_header_name {
        return Some(HashKey::Header(name.to_ascii_lowercase().into()));
    }
    if let Some(cookie) = &hash.http_cookie {
        return hash_cookie(cookie).map(HashKey::Cookie);
    }
    if hash.use_source_ip == Some(true) {
        return Some(HashKey::SourceIp);
    }
    hash.http_query_parameter_name.as_ref().map(|name| HashKey::QueryParameter((**name).into()))
}

/// `None`, so that endpoints are random, for texts that validation refuses.
fn hash_cookie(cookie: &written::HttpCookie) -> Option<HashCookie> {
    let attribute = |one: &written::CookieAttribute| {
        Some((CookieName::parse(&one.name).ok()?, CookieText::parse(&one.value).ok()?))
    };
    Some(HashCookie {
        name: CookieName::parse(&cookie.name).ok()?,
        path: CookieText::parse(&cookie.path).ok()?,
        ttl: cookie.ttl.and_then(scalar::Duration::get),
        attributes: cookie.attributes.iter().map(attribute).collect::<Option<_>>()?,
    })
}

/// DR-12; the deprecated field says how long, and nothing else.
fn warmup(policy: &LoadBalancer) -> Option<Warmup> {
    let warmup = policy.warmup.as_ref();
    let duration = match warmup {
        Some(warmup) => warmup.duration,
        None => policy.warmup_duration_secs,
    };
    Some(Warmup {
        duration: duration.and_then(scalar::Duration::get).filter(|duration| !duration.is_zero())?,
        minimum_percent: warmup.and_then(|warmup| warmup.minimum_percent).unwrap_or(MINIMUM_PERCENT),
        aggression: warmup.and_then(|warmup| warmup.aggression).unwrap_or(AGGRESSION),
    })
}

/// DR-30.
fn panic_threshold(effective: Effective<'_>) -> u32 {
    effective.outlier_detection.map_or(0, |outlier| outlier.min_health_percent.clamp(0, 100).unsigned_abs())
}
