//! How an endpoint of a cluster is chosen (DR-10 to DR-14).

use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use text::{CookieName, CookieText};

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// By what rule.
    pub balancer: Balancer,
    /// Whether those that are new get less at first (DR-12).
    pub warmup: Option<Warmup>,
    /// What it matters where they are (DR-13).
    pub localities: Localities,
    /// Where a smaller part of the endpoints is healthy, in hundredths, the others are chosen as well; 0 is never (DR-30 `minHealthPercent`).
    pub panic_threshold: u32,
}

/// The rule by which one is chosen among those that may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Balancer {
    /// The less loaded of two random ones, by weight.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The same for the same key, by weight (DR-11).
    ConsistentHash(Arc<ConsistentHash>),
}

/// The same endpoint for the same key (DR-11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsistentHash {
    /// What of a request is hashed; `None` is random, as for a request without the key.
    pub key: Option<HashKey>,
    /// How hashes are mapped to endpoints.
    pub table: HashTable,
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum HashKey {
    /// The values of a header, by its name in lower case.
    Header(Arc<str>),
    /// The value of a cookie.
    Cookie(HashCookie),
    /// The address of the client.
    SourceIp,
    /// The first value of a query parameter.
    QueryParameter(Arc<str>),
}

/// A cookie that is hashed, and made for clients that have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashCookie {
    /// Its name.
    pub name: CookieName,
    /// The path that it is made for; may be empty.
    pub path: CookieText,
    /// How long it lives; zero is as long as the client's session, `None` is not made.
    pub ttl: Option<Duration>,
    /// Further attributes of one that is made; a value may be empty.
    pub attributes: Arc<[(CookieName, CookieText)]>,
}

/// How hashes are mapped to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum HashTable {
    /// A ring with at least so many points.
    Ring {
        /// Points.
        minimum_size: u64,
    },
    /// Maglev's table.
    Maglev {
        /// Entries; a prime.
        size: u64,
    },
}

/// Less for endpoints that are new (DR-12). For round-robin and least request alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Warmup {
    /// How long an endpoint is new.
    pub duration: Duration,
    /// The least part of its weight, in hundredths.
    pub minimum_percent: f64,
    /// The larger, the more an endpoint gets early; 1 is a straight line.
    pub aggression: f64,
}

/// Neither is ever NaN: configuration with one is refused.
impl Eq for Warmup {}

/// What it matters where endpoints are (DR-13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Localities {
    /// Nothing.
    Ignored,
    /// Those of the lowest priority number are chosen as long as enough of them are healthy.
    Failover,
    /// Each locality has a share; those that are not named have none.
    Distribute(Arc<[(Option<Locality>, u32)]>),
}

/// `region/zone/subzone`; parts at its end may be missing, and the region may be empty where only the zone is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Locality(pub Arc<str>);

impl Locality {
    /// The region.
    pub fn region(&self) -> &str {
        self.part(0)
    }

    /// The zone.
    pub fn zone(&self) -> &str {
        self.part(1)
    }

    /// The subzone.
    pub fn subzone(&self) -> &str {
        self.part(2)
    }

    fn part(&self, number: usize) -> &str {
        self.0.splitn(3, '/').nth(number).unwrap_or_default()
    }
}

impl From<Balancer> for Balance {
    fn from(balancer: Balancer) -> Self {
        Self { balancer, warmup: None, localities: Localities::Ignored, panic_threshold: 0 }
    }
}

impl From<Balancer> for Arc<Balance> {
    fn from(balancer: Balancer) -> Self {
        Self::new(balancer.into())
    }
}

impl Balance {
    /// How requests are hashed, where they are.
    pub fn hash(&self) -> Option<&ConsistentHash> {
        match &self.balancer {
            Balancer::ConsistentHash(hash) => Some(hash),
            Balancer::LeastRequest | Balancer::RoundRobin | Balancer::Random => None,
        }
    }
}
