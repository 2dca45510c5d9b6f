//! What is asked for: `svc`, `gw,vs`, `svc NAME`, `svc/NAME gw/NAME`, by all the names that kubectl takes.

use resources::api::{ALL, ApiResource};
use resources::key::Kind;
use std::borrow::Cow;

/// Kinds, and names of objects of them; none for all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Kinds, and the names that are asked for in each of them.
    Kinds(Vec<Kind>, Vec<String>),
    /// Single objects.
    Objects(Vec<(Kind, String)>),
}

/// Reads the words of the command line; an error in kubectl's words.
pub(super) fn parse(words: &[String]) -> Result<Request, String> {
    let words = &*each_with_each(words);
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| single(word)).collect::<Result<_, _>>().map(Request::Objects);
    }
    let Some((kinds, names)) = words.split_first() else {
        return Err("you must specify the type of resource to get".to_owned());
    };
    let mut all = Vec::new();
    for kind in kinds.split(',').map(kinds_of) {
        all.extend(kind?);
    }
    // A word for several kinds, such as `all`.
    if all.len() > 1 && !names.is_empty() {
        return Err("you must specify only one resource".to_owned());
    }
    Ok(Request::Kinds(all, names.to_vec()))
}

/// `gw,vs a b` as `gw/a gw/b vs/a vs/b`; other words as they are.
fn each_with_each(words: &[String]) -> Cow<'_, [String]> {
    match words.split_first() {
        Some((kinds, names)) if kinds.contains(',') && !names.is_empty() => {
            let of = |kind: &str| names.iter().map(|name| format!("{kind}/{name}")).collect::<Vec<_>>();
            kinds.split(',').flat_map(of).collect()
        }
        _ => words.into(),
    }
}

fn single(word: &str) -> Result<(Kind, String), String> {
    let message = || {
        "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. \
         'moongate get resource/<resource_name>' instead of 'moongate get resource resource/<resource_name>'"
            .to_owned()
    };
    let (kind, name) = word.split_once('/').ok_or_else(message)?;
    if name.contains('/') {
        return Err("arguments in resource/name form may not have more than one slash".to_owned());
    }
    if name.is_empty() || kind.is_empty() {
        return Err("arguments in resource/name form must have a single resource and name".to_owned());
    }
    match *kinds_of(kind)? {
        [kind] => Ok((kind, name.to_owned())),
        _ => Err("arguments in resource/name form must have a single resource and name".to_owned()),
    }
}

fn kinds_of(word: &str) -> Result<Vec<Kind>, String> {
    let lower = word.to_ascii_lowercase();
    let all =
        |is_member: fn(&ApiResource) -> bool| ALL.iter().filter(|one| is_member(one)).map(|one| one.kind).collect();
    match &*lower {
        "all" => return Ok(vec![Kind::Pod, Kind::Service]),
        "istio-io" => return Ok(all(ApiResource::is_istio)),
        "networking-istio-io" => return Ok(all(|one| one.group == "networking.istio.io")),
        "security-istio-io" => return Ok(all(|one| one.group == "security.istio.io")),
        _ => {}
    }
    let found = ALL.iter().find(|one| is_named(one, &lower));
    found.map(|one| vec![one.kind]).ok_or_else(|| format!("the server doesn't have a resource type \"{word}\""))
}

/// By its plural, singular or a short name, with the group or the version and the group behind it where they are given.
fn is_named(resource: &ApiResource, word: &str) -> bool {
    let (name, behind) = word.split_once('.').unwrap_or((word, ""));
    let is_name = name == resource.plural || name == resource.singular || resource.short.contains(&name);
    let (version, group) = behind.split_once('.').unwrap_or((behind, ""));
    let is_group = behind.is_empty()
        || behind == resource.group
        || resource.versions.contains(&version) && group == resource.group;
    is_name && is_group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<Request, String> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn kinds_go_by_every_name_that_kubectl_takes() {
        let services = ["svc", "service", "services", "Service", "SVC", "services.v1.", "svc.v1."];
        for name in services {
            assert_eq!(request(&[name]), Ok(Request::Kinds(vec![Kind::Service], vec![])), "{name}");
        }
        let gateways =
            ["gw", "gateway", "gateways", "gateways.networking.istio.io", "gateways.v1beta1.networking.istio.io"];
        for name in gateways {
            assert_eq!(request(&[name, "a"]), Ok(Request::Kinds(vec![Kind::Gateway], vec!["a".to_owned()])), "{name}");
        }
        let both = vec![(Kind::Service, "a".to_owned()), (Kind::VirtualService, "b".to_owned())];
        assert_eq!(request(&["svc/a", "vs/b"]), Ok(Request::Objects(both)));
        let each = vec![(Kind::Gateway, "a".to_owned()), (Kind::VirtualService, "a".to_owned())];
        assert_eq!(request(&["gw,vs", "a"]), Ok(Request::Objects(each)));
        assert_eq!(request(&["gw,vs"]), Ok(Request::Kinds(vec![Kind::Gateway, Kind::VirtualService], vec![])));
    }

    #[test]
    fn what_is_not_known_is_said_as_kubectl_says_it() {
        for name in ["deploy", "gateways.gateway.networking.k8s.io", "gateways.v2.networking.istio.io"] {
            assert_eq!(request(&[name]), Err(format!("the server doesn't have a resource type \"{name}\"")));
        }
        assert!(request(&["svc", "svc/a"]).unwrap_err().starts_with("there is no need to specify a resource type"));
        assert!(request(&["svc/"]).unwrap_err().contains("must have a single resource and name"));
        assert!(request(&["svc/a/b"]).unwrap_err().contains("may not have more than one slash"));
        assert!(request(&["all", "a"]).is_err());
    }
}
