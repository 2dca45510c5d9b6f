//! The trust domains of the mesh, by whose names principals are known (MC-05).

use resources::spec::mesh_config::MeshConfig;

/// Istio's name for the mesh's own trust domain, whatever it is called.
const LOCAL: &str = "cluster.local";

/// The trust domain of the mesh, and its aliases.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrustDomains(Vec<String>);

impl TrustDomains {
    pub(crate) fn of(mesh: &MeshConfig) -> Self {
        let own = if mesh.trust_domain.is_empty() { LOCAL } else { &mesh.trust_domain };
        let aliases = mesh.trust_domain_aliases.iter().map(|alias| alias.to_string());
        Self(std::iter::once(own.to_owned()).chain(aliases).collect())
    }

    /// A principal of a policy under every name of its trust domain; as it is, if it belongs to another mesh or says nothing of one.
    pub(crate) fn aliases(&self, principal: &str) -> Vec<String> {
        let as_is = || vec![principal.to_owned()];
        let parts: Vec<&str> = principal.split('/').collect();
        let [domain, rest @ ..] = &parts[..] else { return as_is() };
        if rest.len() != 4 || *domain == "*" {
            return as_is();
        }
        let suffix = domain.strip_prefix('*');
        let is = |name: &str| name == *domain || suffix.is_some_and(|suffix| name.ends_with(suffix));
        let begins = |name: &str| domain.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
        if *domain != LOCAL && !self.0.iter().any(|name| is(name) || begins(name)) {
            return as_is();
        }
        let mut all: Vec<String> = Vec::new();
        for name in &self.0 {
            let next = match suffix {
                Some(suffix) if name.ends_with(suffix) => principal.to_owned(),
                _ => format!("{name}/{}", rest.join("/")),
            };
            if !all.contains(&next) {
                all.push(next);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::TrustDomains;

    #[test]
    fn ap_09_principals_are_known_by_every_name_of_the_trust_domain() {
        let domains = TrustDomains(vec!["new".into(), "old".into(), "older-td".into()]);
        for (principal, all) in [
            ("new/ns/a/sa/b", &["new/ns/a/sa/b", "old/ns/a/sa/b", "older-td/ns/a/sa/b"][..]),
            ("cluster.local/ns/a/sa/b", &["new/ns/a/sa/b", "old/ns/a/sa/b", "older-td/ns/a/sa/b"]),
            ("*-td/ns/a/sa/b", &["new/ns/a/sa/b", "old/ns/a/sa/b", "*-td/ns/a/sa/b"]),
            ("other/ns/a/sa/b", &["other/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            ("*", &["*"]),
            ("*/sa/b", &["*/sa/b"]),
        ] {
            assert_eq!(domains.aliases(principal), all, "{principal}");
        }
    }
}
