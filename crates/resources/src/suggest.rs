//! "Did you mean": the known name that is nearest to one that is not known.

/// The help for a name that is not one of `known`: the nearest of them, or all of them where none is near. Empty without any.
pub(crate) fn help(name: &str, known: &[&str], what: &str) -> String {
    match nearest(name, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None if known.is_empty() => String::new(),
        None => {
            let all: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
            format!("{what} {}", all.join(", "))
        }
    }
}

/// The nearest of `known`, if it is so near that it was probably meant. Case does not count.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance is quadratic in the length; no name is as long as that.
    if name.len() > 100 {
        return None;
    }
    let lower = name.to_lowercase();
    let distance = |known: &&'k str| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), *known);
    let (distance, known) = known.iter().map(distance).min()?;
    (distance <= 1 + known.len() / 4).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_others_are_listed() {
        let known = ["VirtualService", "Gateway", "ServiceEntry"];
        assert_eq!(nearest("VirtualServce", &known), Some("VirtualService"));
        assert_eq!(nearest("gateway", &known), Some("Gateway"));
        assert_eq!(nearest("EnvoyFilter", &known), None);
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
        assert_eq!(help("SIMPL", &["SIMPLE", "MUTUAL"], "use one of"), "did you mean `SIMPLE`?");
        assert_eq!(help("tls", &["SIMPLE", "MUTUAL"], "use one of"), "use one of `SIMPLE`, `MUTUAL`");
        assert_eq!(help("tls", &[], "use one of"), "");
    }
}
