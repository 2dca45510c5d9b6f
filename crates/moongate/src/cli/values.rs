//! Values of flags, out of their texts.

use sources::Published;

/// `region/zone/subzone`, or less of it at the end.
pub(super) fn locality(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.is_empty() || part.contains('*')) {
        return Err(format!("`{text}` is not of the form `region/zone/subzone`"));
    }
    Ok(text.to_owned())
}

/// An address, or a name in DNS.
pub(super) fn published(text: &str) -> Result<Published, String> {
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..64).contains(&label.len())
            && label.chars().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let published = Published::parse(text);
    match &published {
        Published::Host(host) if host.len() > 253 || !host.split('.').all(is_label) => {
            Err(format!("`{text}` is neither an IP address nor a name in DNS"))
        }
        _ => Ok(published),
    }
}

/// A range of addresses, or `none`.
pub(super) fn range(text: &str) -> Result<Option<ir::IpRange>, ir::InvalidIpRange> {
    if text == "none" { Ok(None) } else { text.parse().map(Some) }
}

/// `key=value`, both of some type.
pub(super) fn pair<K, V>(text: &str) -> Result<(K, V), String>
where
    K: std::str::FromStr<Err: std::fmt::Display>,
    V: std::str::FromStr<Err: std::fmt::Display>,
{
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form `key=value`"))?;
    let key = key.trim().parse().map_err(|error| format!("`{key}`: {error}"))?;
    let value = value.trim().parse().map_err(|error| format!("`{value}`: {error}"))?;
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dr_14_a_locality_has_up_to_three_parts() {
        assert!(["eu", "eu/a", "eu/a/1"].iter().all(|text| locality(text).is_ok()));
        assert!(["", "eu/", "/a", "eu/*", "a/b/c/d"].iter().all(|text| locality(text).is_err()));
    }

    #[test]
    fn an_address_to_publish_is_an_ip_address_or_a_name() {
        assert!(["192.0.2.1", "2001:db8::1", "lb.example.com", "a"].iter().all(|text| published(text).is_ok()));
        assert!(["", "a..b", "-a", "A", "a:80", "http://a", "1.2.3.4/8"].iter().all(|text| published(text).is_err()));
    }

    #[test]
    fn pairs_tell_what_is_wrong() {
        assert_eq!(pair::<u16, u16>("80=8080"), Ok((80, 8080)));
        assert!(pair::<u16, u16>("80").unwrap_err().contains("key=value"));
        assert!(pair::<u16, u16>("80=x").unwrap_err().starts_with("`x`: "));
    }
}
