//! Nanoseconds that a forward proxy takes to decide on a destination, with 10,000 names on its allow-list, a tenth of them wildcards.

#![allow(clippy::print_stdout, reason = "its purpose")]

use ir::{ClusterId, ForwardHost, ForwardPort, ForwardProtocol, ForwardProxy, HostPattern, ObjectKind, Origin};
use routing::forward::{AllowList, RequestedDestination};
use std::hint::black_box;
use std::time::Instant;
use wire::destination::DestinationHost;

const NAMES: usize = 10_000;
const TURNS: usize = 100;

fn main() {
    let origin =
        Origin { kind: ObjectKind::ServiceEntry, namespace: "default".into(), name: "names".into(), rule: "".into() };
    let name = |at: usize| match at % 10 {
        0 => format!("*.w{at}.example.com"),
        _ => format!("n{at}.example.com"),
    };
    let host = |at: usize| ForwardHost {
        host: HostPattern::parse(&name(at)).unwrap_or(HostPattern::Any),
        ports: [ForwardPort {
            number: 443,
            protocol: ForwardProtocol::Tls,
            cluster: ClusterId::forward(443, ("default", "names"), &name(at)),
            origin: origin.clone(),
        }]
        .into(),
    };
    let proxy = ForwardProxy {
        origin: origin.clone(),
        hosts: (0..NAMES).map(host).collect(),
        addresses: Box::default(),
        others: None,
        users: None,
        retries: None,
    };
    let list = AllowList::build(&proxy, &mut |_| 0);
    let of = |kind: &str, asked: &dyn Fn(usize) -> String, is_allowed: bool| {
        let names: Vec<String> = (0..NAMES).map(asked).collect();
        let begun = Instant::now();
        for _ in 0..TURNS {
            for name in &names {
                let host = DestinationHost::Name(black_box(name));
                let decided = list.decide(&RequestedDestination { is_tunnel: true, is_https: false, host, port: 443 });
                assert_eq!(decided.is_ok(), is_allowed, "{name}");
            }
        }
        let each = begun.elapsed().as_nanos() as f64 / (NAMES * TURNS) as f64;
        println!("{kind}: {each:.0} ns");
    };
    let is_wild = |at: usize| at.is_multiple_of(10);
    of("names on the list", &|at| if is_wild(at) { format!("x.w{at}.example.com") } else { name(at) }, true);
    of("names below a wildcard", &|at| format!("a.b.c.w{}.example.com", at - at % 10), true);
    of("names that are not on it", &|at| format!("a.b.c.d.e.other{at}.example.net"), false);
}
