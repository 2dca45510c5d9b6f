//! The mesh's settings while the process runs: from the file that a flag names, from `mesh.yaml` beside the configuration, or from the
//! ConfigMap `istio` that Istio itself reads (MC-01). The first of them that is there counts.

use compiler::Settings;
use resources::diagnostic::{Diagnostic, Position, Severity};
use resources::key::{Key, Kind, ObjectRef};
use resources::read::read_mesh_config;
use resources::set::ResourceSet;
use sources::Loaded;
use std::path::Path;
use std::sync::Arc;

/// The ConfigMap, and what of it is read.
const NAME: &str = "istio";
const DATA: &str = "mesh";

/// What was read last, and what was found in it.
#[derive(Debug, Default)]
pub(crate) struct Mesh {
    text: Option<Arc<str>>,
    pub(crate) found: Vec<Diagnostic>,
    /// Whether there are settings in use: the defaults where none were written, or the last ones without errors.
    is_usable: bool,
}

/// Settings that were written somewhere.
struct Written {
    text: Arc<str>,
    file: Arc<Path>,
    /// The ConfigMap, where they stand in one: the place is the line of its document then, where it is in a file.
    object: Option<(ObjectRef, Option<u32>)>,
}

impl Mesh {
    /// Applies the current settings. Settings with errors are rejected, and the settings before are kept. Where there are none
    /// before, nothing can be served: which paths are the same, or whom to trust, is not known.
    pub(crate) fn apply(&mut self, loaded: &Loaded, settings: &mut Settings) {
        let Some(written) = of_file(loaded).or_else(|| of_config_map(&loaded.set, settings)) else {
            self.is_usable = true;
            if self.text.take().is_some() {
                self.found.clear();
                settings.mesh = Default::default();
            }
            return;
        };
        if self.text.as_ref() == Some(&written.text) {
            return;
        }
        let (mesh, mut found) = read_mesh_config(&written.file, &written.text);
        if let Some((object, line)) = &written.object {
            for one in &mut found {
                let position = |line| Position { file: Arc::clone(&written.file), line, column: 0 };
                one.position = line.map(position);
                one.object = Some(object.clone());
                one.field = format!("data.{DATA}");
            }
        }
        let has_errors = found.iter().any(|one| one.severity == Severity::Error);
        if has_errors {
            let effect = if self.is_usable {
                "the settings before are kept"
            } else {
                "nothing is served without valid settings"
            };
            for one in found.iter_mut().filter(|one| one.severity == Severity::Error) {
                one.message.push_str("; ");
                one.message.push_str(effect);
            }
        } else {
            (settings.mesh, self.is_usable) = (mesh, true);
        }
        (self.text, self.found) = (Some(written.text), found);
    }

    /// Whether there are settings to serve with.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_usable
    }
}

fn of_file(loaded: &Loaded) -> Option<Written> {
    let mesh = loaded.mesh.as_ref()?;
    Some(Written { text: Arc::clone(&mesh.text), file: Arc::clone(&mesh.file), object: None })
}

fn of_config_map(set: &ResourceSet, settings: &Settings) -> Option<Written> {
    let own = settings.workloads.first().map(|workload| Arc::clone(&workload.namespace));
    let namespaces = [Some(Arc::from("istio-system")), own];
    namespaces.into_iter().flatten().find_map(|namespace: Arc<str>| {
        let key = Key::new(namespace, NAME);
        let text = set.config_maps.get(&key)?.spec.data.get(DATA)?;
        let object = ObjectRef { kind: Kind::ConfigMap, key };
        let source = set.source(&object);
        let file = source.map_or_else(|| Path::new("ConfigMap").into(), |source| Arc::clone(&source.file));
        let line = source.map(|source| source.line);
        Some(Written { text: (&**text).into(), file, object: Some((object, line)) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sources::FileReader;
    use std::fs;

    const OF_CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  \
                                 mesh: |\n    rootNamespace: of-map\n";

    /// The settings of a folder as it is now.
    struct Folder {
        folder: tempfile::TempDir,
        source: FileReader,
        mesh: Mesh,
        settings: Settings,
    }

    impl Folder {
        fn new(named: Option<&str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let named = named.map(|name| folder.path().join(name));
            let source = FileReader::new(vec![folder.path().to_owned()]).unwrap().with_mesh(named);
            Self { folder, source, mesh: Mesh::default(), settings: Settings::default() }
        }

        fn put(&mut self, name: &str, text: &str) -> &mut Self {
            fs::write(self.folder.path().join(name), text).unwrap();
            self
        }

        fn root(&mut self) -> String {
            if let Some(loaded) = self.source.refresh() {
                self.mesh.apply(&loaded, &mut self.settings);
            }
            self.settings.mesh.root_namespace.to_string()
        }
    }

    #[test]
    fn mc_01_a_file_of_the_folder_comes_before_the_config_map_and_both_may_change() {
        let mut folder = Folder::new(None);
        assert_eq!(folder.root(), "");
        assert_eq!(folder.put("istio.yaml", OF_CONFIG_MAP).root(), "of-map");
        assert_eq!(folder.put("mesh.yaml", "rootNamespace: of-file\n").root(), "of-file");
        assert_eq!(folder.put("mesh.yaml", "rootNamespace: of-file-too\n").root(), "of-file-too");
        assert_eq!(folder.put("istio.yaml", &OF_CONFIG_MAP.replace("of-map", "of-map-too")).root(), "of-file-too");
        fs::remove_file(folder.folder.path().join("mesh.yaml")).unwrap();
        assert_eq!(folder.root(), "of-map-too");
        fs::remove_file(folder.folder.path().join("istio.yaml")).unwrap();
        assert_eq!(folder.root(), "");
    }

    #[test]
    fn mc_01_a_file_that_is_named_comes_first() {
        let mut folder = Folder::new(Some("own.yaml"));
        folder.put("mesh.yaml", "rootNamespace: of-file\n").put("own.yaml", "rootNamespace: own\n");
        assert_eq!(folder.root(), "own");
        assert_eq!(folder.put("own.yaml", "rootNamespace: changed\n").root(), "changed");
        // Gone for a moment, as while it is replaced.
        fs::remove_file(folder.folder.path().join("own.yaml")).unwrap();
        assert_eq!(folder.root(), "changed");
    }

    #[test]
    fn mc_01_settings_with_errors_do_not_take_the_place_of_good_ones() {
        let mut folder = Folder::new(None);
        assert_eq!(folder.put("mesh.yaml", "rootNamespace: 'not one'\n").root(), "");
        assert!(folder.mesh.found[0].message.ends_with("; nothing is served without valid settings"));
        assert!(!folder.mesh.is_usable());
        assert_eq!(folder.put("mesh.yaml", "rootNamespace: good\n").root(), "good");
        assert!(folder.mesh.is_usable());
        assert_eq!(folder.put("mesh.yaml", "rootNamespace: 'not one'\n").root(), "good");
        assert!(folder.mesh.is_usable());
        assert_eq!(folder.mesh.found.len(), 1);
        assert!(folder.mesh.found[0].message.ends_with("; the settings before are kept"));
        assert_eq!(folder.put("mesh.yaml", "rootNamespace: better\n").root(), "better");
        assert!(folder.mesh.found.is_empty());
    }

    #[test]
    fn mc_01_a_file_of_that_name_with_objects_holds_objects() {
        let mut folder = Folder::new(None);
        assert_eq!(folder.put("mesh.yaml", OF_CONFIG_MAP).root(), "of-map");
    }
}
