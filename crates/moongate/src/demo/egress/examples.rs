//! The examples of the egress gateway, which are part of the program so that it can show them where there is nothing else.

/// An example: a folder of `examples/egress`.
#[derive(Debug)]
pub(super) struct Example {
    /// The name of the folder.
    pub(super) name: &'static str,
    /// The files with configuration, by name.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// What it shows, with commands and what they print.
    readme: &'static str,
    /// URLs that the demo asks its forward proxy for, so that decisions are seen at once.
    pub(super) asked: &'static [&'static str],
}

macro_rules! example {
    ($name:literal, [$($file:literal),+], [$($asked:literal),*]) => {
        Example {
            name: $name,
            files: &[$(($file, include_str!(concat!("../../../../../examples/egress/", $name, "/", $file)))),+],
            readme: include_str!(concat!("../../../../../examples/egress/", $name, "/README.md")),
            asked: &[$($asked),*],
        }
    };
}

/// All examples; the first one is the usual one.
pub(super) const EXAMPLES: &[Example] = &[
    example!("allow-list", ["allowed.yaml", "proxy.yaml"], ["http://api.example.com/", "http://news.example.com/"]),
    example!("users", ["allowed.yaml", "policy.yaml", "proxy.yaml", "users.yaml"], []),
    example!("mutual-tls-proxy", ["allowed.yaml", "policy.yaml", "proxy.yaml"], []),
    example!("wildcard-dynamic-dns", ["allowed.yaml", "proxy.yaml"], []),
    example!("report-only", ["allowed.yaml", "policy.yaml", "proxy.yaml"], []),
    example!("http", ["egress.yaml"], []),
    example!("https-passthrough", ["egress.yaml"], []),
    example!("tls-origination", ["egress.yaml"], []),
    example!("mutual-tls-origination-secret", ["egress.yaml"], []),
    example!("mutual-tls-origination-files", ["egress.yaml"], []),
    example!("wildcard-one-server", ["egress.yaml"], []),
    example!("tcp", ["egress.yaml"], []),
    example!("external-proxy", ["egress.yaml"], []),
    example!("authorization", ["egress.yaml", "policy.yaml"], []),
    example!("logging", ["egress.yaml", "mesh.yaml"], []),
];

impl Example {
    /// The first line of the README.
    pub(super) fn title(&self) -> &'static str {
        self.readme.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// The commands of the README: lines of its `console` blocks that begin with `$`.
    pub(super) fn commands(&self) -> impl Iterator<Item = &'static str> {
        self.readme.lines().filter_map(|line| line.strip_prefix("$ "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn each_folder_is_an_example_with_all_its_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/egress");
        let list = |folder: &Path| -> BTreeSet<String> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.into_string().unwrap()).filter(|name| name != "README.md").collect()
        };
        let names: BTreeSet<String> = EXAMPLES.iter().map(|example| example.name.to_owned()).collect();
        assert_eq!(list(&root), names);
        for example in EXAMPLES {
            let files: BTreeSet<String> = example.files.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(list(&root.join(example.name)), files, "{}", example.name);
            assert!(example.readme.starts_with("# ") && example.commands().next().is_some(), "{}", example.name);
        }
    }
}
