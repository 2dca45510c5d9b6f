//! Files while they are written, renamed and swapped, as a watching source sees them. Time is an argument: nothing here waits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![cfg(target_os = "linux")]

use resources::code;
use sources::{FileReader, Loaded};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn entry(name: &str, address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
    )
}

/// A watched source with its own clock.
struct Watched {
    folder: tempfile::TempDir,
    source: FileReader,
    now: Instant,
    last: Option<Loaded>,
}

impl Watched {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("root").join(name), text).unwrap();
        }
        let mut source = FileReader::new(vec![folder.path().join("root")]).unwrap();
        source.start_watching();
        let mut watched = Self { folder, source, now: Instant::now(), last: None };
        watched.poll(0);
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// Looks often until so much later, and then until nothing is left to do at once. The entries and codes.
    fn poll(&mut self, milliseconds: u64) -> (Vec<String>, Vec<&'static str>) {
        let until = self.now + Duration::from_millis(milliseconds);
        loop {
            self.now = until.min(self.now + Duration::from_millis(100));
            while let Some(loaded) = self.source.poll(self.now) {
                self.last = Some(loaded);
            }
            if self.now == until {
                break;
            }
        }
        let Some(loaded) = &self.last else { return Default::default() };
        let all = loaded.set.workload_entries.iter();
        let entries = all.map(|(key, object)| format!("{} {}", key.name, object.spec.address)).collect();
        (entries, loaded.diagnostics.iter().map(|one| one.code).collect())
    }
}

fn found(entries: &[&str], codes: &[&'static str]) -> (Vec<String>, Vec<&'static str>) {
    (entries.iter().map(|entry| (*entry).to_owned()).collect(), codes.to_vec())
}

fn two(one: &str, two: &str) -> String {
    format!("{}---\n{}", entry("one", one), entry("two", two))
}

const BOTH: &[&str] = &["one 1.1.1.1", "two 2.2.2.2"];

#[test]
fn a_file_is_read_when_its_writer_closes_it_however_long_it_takes() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    assert_eq!(watched.poll(0), found(BOTH, &[]));
    let mut writer = File::create(watched.path("a.yaml")).unwrap();
    assert_eq!(watched.poll(100), found(BOTH, &[]), "it is truncated");
    let text = two("1.1.1.9", "2.2.2.9");
    for line in text.split_inclusive('\n') {
        writer.write_all(line.as_bytes()).unwrap();
        assert_eq!(watched.poll(200), found(BOTH, &[]), "after {line}");
    }
    assert_eq!(watched.poll(10_000), found(BOTH, &[code::OPEN_FILE]), "that it is open is reported");
    drop(writer);
    assert_eq!(watched.poll(0), found(&["one 1.1.1.9", "two 2.2.2.9"], &[]));
}

#[test]
fn a_file_that_grows_line_by_line_withdraws_nothing_meanwhile() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    let text = two("1.1.1.1", "2.2.2.2");
    fs::write(watched.path("a.yaml"), "").unwrap();
    assert_eq!(watched.poll(100).0, BOTH);
    for line in text.split_inclusive('\n') {
        let mut file = OpenOptions::new().append(true).open(watched.path("a.yaml")).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        drop(file);
        assert_eq!(watched.poll(400).0, BOTH, "after {line}");
    }
    assert_eq!(watched.poll(0), found(BOTH, &[]));
    // A document that would be good though it is cut: the rules of a VirtualService.
    let rules = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a.test]\n  gateways: [g]\n  http:\n  - match:\n    - uri: {prefix: /a}\n    directResponse: {status: 204}\n  - directResponse: {status: 205}\n";
    let is_whole = |watched: &Watched| {
        watched.last.as_ref().unwrap().set.virtual_services.values().all(|object| object.spec.http.len() == 2)
    };
    fs::write(watched.path("v.yaml"), rules).unwrap();
    watched.poll(100);
    fs::write(watched.path("v.yaml"), "").unwrap();
    for line in rules.split_inclusive('\n') {
        watched.poll(100);
        assert!(is_whole(&watched), "before {line}");
        let mut file = OpenOptions::new().append(true).open(watched.path("v.yaml")).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(watched.poll(100), found(BOTH, &[]));
    assert!(is_whole(&watched));
    // Renamed and begun anew before it is looked at.
    fs::rename(watched.path("v.yaml"), watched.path("w.yaml")).unwrap();
    fs::write(watched.path("w.yaml"), &rules[..rules.rfind("  - directResponse").unwrap()]).unwrap();
    watched.poll(100);
    assert!(is_whole(&watched));
    fs::write(watched.path("w.yaml"), rules).unwrap();
    watched.poll(100);
    assert!(is_whole(&watched));
    // One that stays short means it.
    fs::write(watched.path("a.yaml"), entry("one", "1.1.1.1")).unwrap();
    assert_eq!(watched.poll(100), found(BOTH, &[]));
    assert!(watched.source.due().is_some(), "it is looked at again without any event");
    assert_eq!(watched.poll(500), found(&["one 1.1.1.1"], &[]));
}

#[test]
fn an_edit_counts_at_once_and_so_does_a_file_that_is_renamed_into_place() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    fs::write(watched.path("a.yaml"), two("1.1.1.3", "2.2.2.2")).unwrap();
    assert_eq!(watched.poll(50), found(&["one 1.1.1.3", "two 2.2.2.2"], &[]));
    fs::write(watched.path(".next"), entry("two", "2.2.2.4")).unwrap();
    fs::rename(watched.path(".next"), watched.path("a.yaml")).unwrap();
    assert_eq!(watched.poll(50), found(&["one 1.1.1.3", "two 2.2.2.4"], &[]), "what it does not hold lingers");
    assert_eq!(watched.poll(500), found(&["two 2.2.2.4"], &[]));
}

#[test]
fn a_file_that_is_removed_and_made_again_or_renamed_withdraws_nothing() {
    let mut watched = Watched::new(&[("b.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    fs::remove_file(watched.path("b.yaml")).unwrap();
    assert_eq!(watched.poll(100), found(BOTH, &[]));
    fs::write(watched.path("b.yaml"), two("1.1.1.1", "2.2.2.2")).unwrap();
    assert_eq!(watched.poll(100), found(BOTH, &[]));
    for (from, to) in [("b.yaml", "c.yaml"), ("c.yaml", "a.yaml")] {
        fs::rename(watched.path(from), watched.path(to)).unwrap();
        assert_eq!(watched.poll(100), found(BOTH, &[]), "{from} is no duplicate of {to}");
        assert_eq!(watched.poll(1000), found(BOTH, &[]));
    }
    fs::remove_file(watched.path("a.yaml")).unwrap();
    assert_eq!(watched.poll(499), found(BOTH, &[]));
    assert!(watched.source.due().is_some());
    assert_eq!(watched.poll(500), found(&[], &[]));
}

#[test]
fn a_root_that_was_replaced_is_watched_again() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    let (root, away, next) = (watched.path(""), watched.folder.path().join("away"), watched.folder.path().join("next"));
    fs::rename(&root, &away).unwrap();
    assert!(watched.source.observe(), "that the root is gone is noticed");
    assert_eq!(watched.poll(10_000), found(BOTH, &[code::MISSING_ROOT]));
    fs::create_dir(&next).unwrap();
    fs::write(next.join("a.yaml"), two("1.1.1.7", "2.2.2.7")).unwrap();
    assert!(!watched.source.observe() || watched.source.poll(watched.now).is_none());
    fs::rename(&next, &root).unwrap();
    assert!(watched.source.observe(), "that it is back is noticed");
    assert_eq!(watched.poll(0), found(&["one 1.1.1.7", "two 2.2.2.7"], &[]));
    fs::write(away.join("a.yaml"), entry("one", "9.9.9.9")).unwrap();
    fs::write(watched.path("a.yaml"), two("1.1.1.8", "2.2.2.8")).unwrap();
    assert!(watched.source.observe(), "the new folder is watched");
    assert_eq!(watched.poll(0), found(&["one 1.1.1.8", "two 2.2.2.8"], &[]));
}

#[test]
fn a_root_behind_a_link_follows_the_link() {
    let folder = tempfile::tempdir().unwrap();
    for (release, address) in [("1", "1.1.1.1"), ("2", "2.2.2.2")] {
        fs::create_dir_all(folder.path().join(release).join("config")).unwrap();
        fs::write(folder.path().join(release).join("config/a.yaml"), entry("one", address)).unwrap();
    }
    symlink("1", folder.path().join("current")).unwrap();
    let mut source = FileReader::new(vec![folder.path().join("current/config")]).unwrap();
    source.start_watching();
    assert_eq!(source.poll(Instant::now()).unwrap().set.len(), 1);
    symlink("2", folder.path().join("next")).unwrap();
    fs::rename(folder.path().join("next"), folder.path().join("current")).unwrap();
    assert!(source.observe());
    let loaded = source.poll(Instant::now()).unwrap();
    assert_eq!(&*loaded.set.workload_entries.values().next().unwrap().spec.address, "2.2.2.2");
}

#[test]
fn a_mounted_config_map_is_swapped_at_once() {
    let mut watched = Watched::new(&[]);
    let version = |watched: &Watched, name: &str, text: &str| {
        fs::create_dir(watched.path(name)).unwrap();
        fs::write(watched.path(name).join("a.yaml"), text).unwrap();
        symlink(name, watched.path("..data_tmp")).unwrap();
        fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
    };
    version(&watched, "..1", &two("1.1.1.1", "2.2.2.2"));
    symlink("..data/a.yaml", watched.path("a.yaml")).unwrap();
    assert_eq!(watched.poll(50), found(BOTH, &[]));
    version(&watched, "..2", &two("1.1.1.3", "2.2.2.3"));
    fs::remove_dir_all(watched.path("..1")).unwrap();
    assert_eq!(watched.poll(50), found(&["one 1.1.1.3", "two 2.2.2.3"], &[]));
    // A key is removed from the map: first its file behind the link, then the link.
    version(&watched, "..3", "");
    fs::remove_file(watched.path("..3/a.yaml")).unwrap();
    assert_eq!(watched.poll(50), found(&["one 1.1.1.3", "two 2.2.2.3"], &[code::UNLISTED_FOLDER]));
    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.poll(50);
    assert_eq!(watched.poll(500), found(&[], &[]));
}

#[test]
fn a_change_that_the_system_does_not_report_counts_once_it_is_the_same_for_half_a_second() {
    // A writer from before the watch, as through a network mount: nothing is known of it but what it writes.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, two("1.1.1.1", "2.2.2.2")).unwrap();
    let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
    let mut source = FileReader::new(vec![folder.path().to_owned()]).unwrap();
    source.start_watching();
    let now = Instant::now();
    assert_eq!(source.poll(now).unwrap().set.len(), 2);
    writer.write_all(format!("---\n{}", entry("three", "3.3.3.3")).as_bytes()).unwrap();
    let after = |milliseconds: u64| now + Duration::from_millis(milliseconds);
    assert!(source.poll(after(100)).is_none());
    assert!(source.poll(after(350)).is_none());
    assert!(source.poll(after(599)).is_none());
    assert_eq!(source.poll(after(600)).unwrap().set.len(), 3);
    // What shortens a file without opening it is the same.
    fs::write(&path, two("1.1.1.1", "2.2.2.2")).unwrap();
    drop(writer);
    assert_eq!(source.poll(after(2000)).map(|loaded| loaded.set.len()), None);
    assert_eq!(source.poll(after(2250)).map(|loaded| loaded.set.len()), None);
    assert_eq!(source.poll(after(2500)).unwrap().set.len(), 2);
}

#[test]
fn gw_11_a_certificate_is_read_when_its_writer_closes_it() {
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: default}\nspec:\n  servers:\n  - port: {number: 443, \
                   name: https, protocol: HTTPS}\n    hosts: ['*']\n    tls: {mode: SIMPLE, serverCertificate: ../a.crt, privateKey: ../a.key}\n";
    let mut watched = Watched::new(&[]);
    let certificate = watched.folder.path().join("a.crt");
    fs::write(&certificate, "first version").unwrap();
    fs::write(watched.path("g.yaml"), gateway).unwrap();
    watched.poll(50);
    let content = |watched: &Watched| {
        let files = &watched.last.as_ref().unwrap().set.files;
        files.get("../a.crt", "any").unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    };
    assert_eq!(content(&watched).as_deref(), Some("first version"));
    watched.poll(50);
    let mut writer = File::create(&certificate).unwrap();
    writer.write_all(b"second ver").unwrap();
    assert!(watched.source.observe(), "its folder is watched, wherever it is");
    watched.poll(2000);
    assert_eq!(content(&watched).as_deref(), Some("first version"));
    writer.write_all(b"sion of it").unwrap();
    drop(writer);
    watched.poll(0);
    assert_eq!(content(&watched).as_deref(), Some("second version of it"));
}

#[test]
fn a_process_that_ends_in_the_middle_of_a_write_leaves_what_can_be_read() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    let text = two("1.1.1.1", "2.2.2.2");
    // Cut within the second document: it is not known which object it was to be.
    let cut: &Path = &watched.path("a.yaml");
    fs::write(cut, &text[..text.len() - 40]).unwrap();
    assert_eq!(watched.poll(10_000).0, BOTH);
    assert_eq!(watched.poll(10_000).0, BOTH, "for as long as it is broken");
}

#[test]
fn nothing_goes_while_a_file_that_may_hold_it_is_not_read() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    // Renamed, and written to before it is read: the old name is gone, and the new one has not been read.
    fs::rename(watched.path("a.yaml"), watched.path("b.yaml")).unwrap();
    let mut writer = OpenOptions::new().append(true).open(watched.path("b.yaml")).unwrap();
    writer.write_all(b"# more\n").unwrap();
    assert_eq!(watched.poll(100), found(BOTH, &[]));
    assert_eq!(watched.poll(2_000), found(BOTH, &[]));
    assert!(watched.source.due().is_some());
    drop(writer);
    assert_eq!(watched.poll(100), found(BOTH, &[]));
    fs::remove_file(watched.path("b.yaml")).unwrap();
    // A file that stays open holds nothing up for ever.
    let mut writer = File::create(watched.path("c.yaml")).unwrap();
    writer.write_all(b"#").unwrap();
    assert_eq!(watched.poll(1_000), found(BOTH, &[]));
    assert_eq!(watched.poll(4_000), found(BOTH, &[]));
    assert_eq!(watched.poll(1_000).0, Vec::<String>::new());
}

#[test]
fn time_between_two_looks_proves_little() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2"))]);
    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.poll(0);
    // The process, or the machine, was stopped, and so was the writer of the file.
    watched.now += Duration::from_secs(60);
    assert_eq!(watched.poll(0), found(BOTH, &[]));
    assert_eq!(watched.poll(200), found(BOTH, &[]));
    assert_eq!(watched.poll(100).0, Vec::<String>::new());
}

#[test]
fn what_may_have_been_in_a_file_that_no_look_has_seen_stays() {
    let mut watched = Watched::new(&[("a.yaml", &two("1.1.1.1", "2.2.2.2")), ("z.yaml", &entry("z", "9.9.9.9"))]);
    let all = ["one 1.1.1.1", "two 2.2.2.2", "z 9.9.9.9"];
    fs::remove_file(watched.path("a.yaml")).unwrap();
    // Whenever it is looked, the objects are in no file; in between they are.
    for number in 0..20 {
        assert_eq!(watched.poll(200), found(&all, &[]), "after {number}");
        let name = format!("b{number}.yaml");
        fs::write(watched.path(&name), two("1.1.1.1", "2.2.2.2")).unwrap();
        fs::remove_file(watched.path(&name)).unwrap();
    }
    // A file that comes and is read hides nothing.
    watched.poll(400);
    fs::write(watched.path("c.yaml"), entry("c", "8.8.8.8")).unwrap();
    assert_eq!(watched.poll(200), found(&["c 8.8.8.8", "z 9.9.9.9"], &[]));
}
