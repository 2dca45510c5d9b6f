//! Kubernetes' own kinds with state that is shown alone: which it is, and when it is the same. There is nothing to validate: an API server
//! has checked them.

use crate::diagnostic::Findings;
use crate::key::{Key, Kind};
use crate::shown::Aside;
use crate::spec::Spec;
use crate::spec::core::{ConfigMap, IngressPoint, Namespace, NamespacePhase, Service};
use crate::spec::pod::Pod;
use serde::Deserialize;
use serde_json::{Value, json};

/// A part of a status; nothing where it is not as an API server has it.
fn part<T: for<'de> Deserialize<'de>>(status: Option<&Value>, path: &str) -> Option<T> {
    T::deserialize(status?.pointer(path)?).ok()
}

impl Spec for Service {
    const KIND: Kind = Kind::Service;

    fn validate(&self, _: &Key, _: &mut Findings) {}

    fn set_aside(&mut self, aside: Aside) {
        self.set_ingress(part(aside.status.as_ref(), "/loadBalancer/ingress").unwrap_or_default());
    }

    fn aside(&self) -> Aside {
        let point = |point: &IngressPoint| {
            let fields = [("hostname", &point.hostname), ("ip", &point.ip), ("ipMode", &point.ip_mode)];
            let fields = fields.into_iter().filter(|(_, text)| !text.is_empty());
            Value::Object(fields.map(|(name, text)| (name.to_owned(), Value::from(&**text))).collect())
        };
        let ingress: Vec<Value> = self.ingress().iter().map(point).collect();
        let status = (!ingress.is_empty()).then(|| json!({"loadBalancer": {"ingress": ingress}}));
        Aside { status, ..Aside::default() }
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        // Services that are compared have the same number of ports.
        let mut ports = self.ports.iter().zip(&other.ports);
        self.outside.shows(&other.outside) && ports.all(|(one, other)| one.node_port.shows(&other.node_port))
    }
}

impl Spec for Namespace {
    const KIND: Kind = Kind::Namespace;

    fn validate(&self, _: &Key, _: &mut Findings) {}

    fn set_aside(&mut self, aside: Aside) {
        self.phase.0 = part(aside.status.as_ref(), "/phase");
    }

    fn aside(&self) -> Aside {
        let status = |phase: NamespacePhase| json!({"phase": phase});
        Aside { status: self.phase.0.map(status), ..Aside::default() }
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        self.phase.shows(&other.phase)
    }
}

impl Spec for ConfigMap {
    const KIND: Kind = Kind::ConfigMap;

    fn validate(&self, _: &Key, _: &mut Findings) {}

    fn shows_the_same(&self, other: &Self) -> bool {
        self.binary_data.shows(&other.binary_data)
    }
}

impl Spec for Pod {
    const KIND: Kind = Kind::Pod;

    fn validate(&self, _: &Key, _: &mut Findings) {}

    fn set_aside(&mut self, aside: Aside) {
        self.ends.0 = aside.ends;
    }

    fn aside(&self) -> Aside {
        Aside { ends: self.ends.0, ..Aside::default() }
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        let is_same = self.spec.shows_the_same(&other.spec) && self.status.shows_the_same(&other.status);
        is_same && self.ends.shows(&other.ends)
    }
}
