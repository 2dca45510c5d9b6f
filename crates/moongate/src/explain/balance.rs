//! How one of a cluster's endpoints is chosen, in words.

use crate::words::time;
use ir::{Balance, Balancer, Cluster, ConsistentHash, EndpointSource, HashKey, HashTable, Localities, Locality};
use std::collections::BTreeMap;

/// How an endpoint of a cluster is chosen.
pub(super) fn describe(cluster: &Cluster) -> String {
    let Balance { balancer, warmup, localities, panic_threshold } = &*cluster.balance;
    let mut words = match balancer {
        Balancer::LeastRequest => "least request".to_owned(),
        Balancer::RoundRobin => "round robin".to_owned(),
        Balancer::Random => "random".to_owned(),
        Balancer::ConsistentHash(hash) => consistent_hash(hash),
    };
    if let Some(warmup) = warmup {
        words.push_str(&format!("; new endpoints warm up for {}", time(warmup.duration)));
    }
    match localities {
        Localities::Ignored => {}
        Localities::Failover => words.push_str(&format!("; nearest first: {}", by_priority(&cluster.endpoints))),
        Localities::Distribute(shares) => {
            let name =
                |locality: &Option<Locality>| locality.as_ref().map_or("nowhere".to_owned(), |one| one.0.to_string());
            let shares = shares.iter().map(|(locality, share)| format!("{share} to {}", name(locality)));
            words.push_str(&format!("; shares: {}", shares.collect::<Vec<_>>().join(", ")));
        }
    }
    if *panic_threshold > 0 {
        words.push_str(&format!("; any endpoint once less than {panic_threshold} % are healthy"));
    }
    words
}

fn consistent_hash(hash: &ConsistentHash) -> String {
    let table = match hash.table {
        HashTable::Ring { .. } => "ring hash",
        HashTable::Maglev { .. } => "Maglev",
    };
    match &hash.key {
        None => format!("{table} without a key, which is random"),
        Some(HashKey::Header(name)) => format!("{table} by header `{name}`"),
        Some(HashKey::SourceIp) => format!("{table} by the client's address"),
        Some(HashKey::QueryParameter(name)) => format!("{table} by query parameter `{name}`"),
        Some(HashKey::Cookie(cookie)) => {
            let made = if cookie.ttl.is_some() { ", which is made for clients without it" } else { "" };
            format!("{table} by cookie `{}`{made}", cookie.name)
        }
    }
}

/// The endpoints of each priority.
fn by_priority(endpoints: &EndpointSource) -> String {
    let mut priorities: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut add = |priority: u32, name: String| priorities.entry(priority).or_default().push(name);
    match endpoints {
        EndpointSource::Static(all) => all.iter().for_each(|one| add(one.priority, one.address.to_string())),
        EndpointSource::Dns { names, .. } => {
            names.iter().for_each(|name| add(name.priority, format!("{}:{}", name.name, name.port)));
        }
        EndpointSource::Dynamic(_) | EndpointSource::Never(_) | EndpointSource::Withheld(..) => {}
    }
    priorities.into_values().map(|names| names.join(", ")).collect::<Vec<_>>().join(", then ")
}
