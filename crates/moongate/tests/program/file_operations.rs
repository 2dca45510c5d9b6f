//! Seeded operations on files, thousands of them, beside a source that looks all the time, and beside the program under load: whatever
//! they see in between, no object is withdrawn and no request fails, and in the end they have what the files say.

use sources::FileReader;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::client;
use testkit::gateway::{Gateway, Start};
use testkit::seeded::Seeded;

const OPERATIONS: u64 = 10_000;
/// The number of files, and of objects in each.
const FILES: usize = 6;
const OBJECTS: usize = 3;

/// Counts operations as done when it is dropped, so that a waiting thread ends when the test fails.
struct Finish<'a>(&'a AtomicU64);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Release);
    }
}

/// The text of a file in one of its versions.
type Text = fn(usize, u64) -> String;

fn entries(file: usize, version: u64) -> String {
    let (high, low) = (version / 256 % 256, version % 256);
    let entry = |object: usize| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: e{file}-{object}}}\nspec:\n  address: 10.{high}.{low}.{object}\n---\n"
        )
    };
    (0..OBJECTS).map(entry).collect()
}

/// Hosts that answer with the version of their file.
fn services(file: usize, version: u64) -> String {
    let service = |object: usize| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: e{file}-{object}}}\nspec:\n  hosts: [e{file}-{object}.test]\n  gateways: [g]\n  http:\n  - match:\n    - uri: {{prefix: /none}}\n    directResponse: {{status: 204}}\n  - directResponse:\n      status: 299\n      body: {{string: '{version}'}}\n---\n"
        )
    };
    (0..OBJECTS).map(service).collect()
}

/// The folder while it is changed. Files 0 and 1 are renamed, file 2 is in a subfolder, and file 3 is reached by a link into a folder that is swapped.
struct Folder {
    base: PathBuf,
    root: PathBuf,
    text: Text,
    names: [String; FILES],
    versions: [u64; FILES],
    swaps: u64,
}

impl Folder {
    fn new(base: &Path, text: Text) -> Self {
        let root = base.join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        let names = ["a.yaml", "b.yaml", "sub/c.yaml", "d.yaml", "e.yaml", "f.yaml"].map(str::to_owned);
        let mut folder = Self { base: base.to_owned(), root, text, names, versions: [0; FILES], swaps: 0 };
        symlink("..data/d.yaml", folder.path(3)).unwrap();
        folder.swap(0);
        for file in [0, 1, 2, 4, 5] {
            fs::write(folder.path(file), text(file, 0)).unwrap();
        }
        folder
    }

    fn path(&self, file: usize) -> PathBuf {
        self.root.join(&self.names[file])
    }

    /// Another version of file 3, as Kubernetes mounts it.
    fn swap(&mut self, version: u64) {
        let folder = format!("..{}", self.swaps);
        fs::create_dir(self.root.join(&folder)).unwrap();
        fs::write(self.root.join(&folder).join("d.yaml"), (self.text)(3, version)).unwrap();
        symlink(&folder, self.root.join("..data_tmp")).unwrap();
        fs::rename(self.root.join("..data_tmp"), self.root.join("..data")).unwrap();
        if self.swaps > 0 {
            fs::remove_dir_all(self.root.join(format!("..{}", self.swaps - 1))).unwrap();
        }
        self.swaps += 1;
    }

    /// One operation; when it is over, every file has all that it should have.
    fn operate(&mut self, number: u64, seeded: &mut Seeded) {
        let file = [0, 1, 2, 4, 5][seeded.below(5)];
        let path = self.path(file);
        let hidden = self.root.join(".next");
        let text = self.text;
        let mut next = || {
            self.versions[file] = number;
            text(file, number)
        };
        match seeded.below(14) {
            // Truncated and written in pieces by one writer.
            0 => {
                let text = next();
                let mut writer = File::create(&path).unwrap();
                for piece in text.as_bytes().chunks(1 + seeded.below(120)) {
                    writer.write_all(piece).unwrap();
                }
            }
            // Line by line, by a writer for each.
            1 => {
                let text = next();
                File::create(&path).unwrap();
                for line in text.split_inclusive('\n') {
                    OpenOptions::new().append(true).open(&path).unwrap().write_all(line.as_bytes()).unwrap();
                }
            }
            // Renamed into place.
            2 => {
                fs::write(&hidden, next()).unwrap();
                fs::rename(&hidden, &path).unwrap();
            }
            // Deleted and made again.
            3 => {
                fs::remove_file(&path).unwrap();
                fs::write(&path, next()).unwrap();
            }
            // Emptied, broken, cut; then good.
            4 => {
                fs::write(&path, "").unwrap();
                fs::write(&path, next()).unwrap();
            }
            5 => {
                fs::write(&path, "kind: [\n").unwrap();
                fs::write(&path, next()).unwrap();
            }
            6 => {
                let text = next();
                fs::write(&path, &text[..seeded.below(text.len())]).unwrap();
                fs::write(&path, text).unwrap();
            }
            // A folder in its place for a moment.
            7 => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::remove_dir(&path).unwrap();
                fs::write(&path, next()).unwrap();
            }
            // Permissions removed and restored.
            8 => {
                let folder = if seeded.below(2) == 0 { self.root.clone() } else { path.clone() };
                for mode in [0o000, 0o755] {
                    fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            renaming => self.rename(renaming, number, seeded),
        }
    }

    /// One operation that renames files or folders.
    fn rename(&mut self, operation: usize, number: u64, seeded: &mut Seeded) {
        let hidden = self.root.join(".next");
        match operation {
            // Another name, which sorts before or after the others.
            9 => {
                let file = seeded.below(2);
                let name = format!("{}{number}.yaml", ["a", "m", "z"][seeded.below(3)]);
                fs::rename(self.path(file), self.root.join(&name)).unwrap();
                self.names[file] = name;
            }
            // The names of two files swapped.
            10 => {
                fs::rename(self.path(0), &hidden).unwrap();
                fs::rename(self.path(1), self.path(0)).unwrap();
                fs::rename(&hidden, self.path(1)).unwrap();
                self.names.swap(0, 1);
            }
            // The mount swapped.
            11 => {
                self.versions[3] = number;
                self.swap(number);
            }
            // A folder renamed away and back.
            12 => {
                let away = self.root.join(".away");
                fs::rename(self.root.join("sub"), &away).unwrap();
                fs::rename(&away, self.root.join("sub")).unwrap();
            }
            // The root itself.
            _ => {
                let away = self.base.join("away");
                fs::rename(&self.root, &away).unwrap();
                fs::rename(&away, &self.root).unwrap();
            }
        }
    }
}

#[test]
fn no_operation_on_files_withdraws_an_object() {
    let base = tempfile::tempdir().unwrap();
    let mut folder = Folder::new(base.path(), entries);
    let mut source = FileReader::new(vec![folder.root.clone()]).unwrap();
    source.start_watching();
    let start = Instant::now();
    assert_eq!(source.poll(start).unwrap().set.len(), FILES * OBJECTS);
    // A clock that goes on with the operations: no state between two of them lasts, however slow the machine is.
    let done = AtomicU64::new(0);
    let (looks, seen, mut last) = std::thread::scope(|scope| {
        let (source, done) = (&mut source, &done);
        let watcher = scope.spawn(move || {
            let (mut looks, mut seen, mut last) = (0_u64, 0_u64, None);
            loop {
                let number = done.load(Ordering::Acquire);
                source.observe();
                let loaded = source.poll(start + Duration::from_millis(number.min(OPERATIONS)));
                looks += 1;
                if let Some(loaded) = loaded {
                    seen += 1;
                    let set = &loaded.set;
                    assert_eq!(set.len(), FILES * OBJECTS, "after {number} operations: {:?}", loaded.diagnostics);
                    last = Some(loaded);
                }
                if number >= OPERATIONS {
                    return (looks, seen, last);
                }
            }
        });
        let finish = Finish(done);
        let mut seeded = Seeded(7);
        for number in 1..=OPERATIONS {
            folder.operate(number, &mut seeded);
            done.store(number, Ordering::Release);
            if watcher.is_finished() {
                break;
            }
        }
        drop(finish);
        watcher.join().unwrap()
    });
    assert!(looks > 100 && seen > 10, "{looks} looks, of which {seen} saw something");
    // In the end all is as the files say.
    for settled in 1..=4 {
        if let Some(loaded) = source.poll(start + Duration::from_millis(OPERATIONS + settled * 1_000)) {
            last = Some(loaded);
        }
    }
    let loaded = last.unwrap();
    assert_eq!((loaded.set.len(), loaded.unavailable, loaded.diagnostics.len()), (FILES * OBJECTS, 0, 0));
    for (key, object) in &loaded.set.workload_entries {
        let file: usize = key.name[1..2].parse().unwrap();
        let version = folder.versions[file];
        let expected = format!("10.{}.{}.", version / 256 % 256, version % 256);
        assert!(object.spec.address.starts_with(&expected), "{key}: {} is not version {version}", object.spec.address);
    }
}

/// A folder in memory where there is one: a file that is away for half a second is gone, and a disk may take as long for one write.
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn none_of_ten_thousand_operations_on_files_fails_a_request() {
    let base = folder_in_memory();
    let fixed = tempfile::tempdir().unwrap();
    fs::write(
        fixed.path().join("g.yaml"),
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: ['*']\n",
    )
    .unwrap();
    let mut folder = Folder::new(base.path(), services);
    let start = Start {
        program: Path::new(env!("CARGO_BIN_EXE_moongate")),
        paths: vec![fixed.path().to_owned(), folder.root.clone()],
        ports: vec![80],
        args: vec!["--bind".to_owned(), "127.0.0.1".to_owned()],
    };
    let gateway = Gateway::start(&start).unwrap();
    let get = |file: usize, object: usize| {
        let answer = client::get(gateway.address(80), &format!("e{file}-{object}.test"), "/");
        answer.map(|answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    };
    let done = AtomicU64::new(0);
    let requests = std::thread::scope(|scope| {
        let (get, done) = (&get, &done);
        let load = scope.spawn(move || {
            let mut requests = 0_usize;
            while done.load(Ordering::Acquire) < OPERATIONS || requests <= 100 {
                let (file, object) = (requests % FILES, requests / FILES % OBJECTS);
                let answer = get(file, object);
                let number = done.load(Ordering::Acquire);
                assert!(matches!(answer, Ok((299, _))), "request {requests} after {number} operations: {answer:?}");
                requests += 1;
            }
            requests
        });
        let finish = Finish(done);
        let mut seeded = Seeded(11);
        for number in 1..=OPERATIONS {
            folder.operate(number, &mut seeded);
            done.store(number, Ordering::Release);
            if load.is_finished() {
                break;
            }
        }
        drop(finish);
        load.join().unwrap()
    });
    assert!(requests > 100, "{requests}");
    // In the end every host answers with the last version of its file.
    let begun = Instant::now();
    let is_last = |file: usize| matches!(get(file, 0), Ok((299, body)) if body == folder.versions[file].to_string());
    while !(0..FILES).all(is_last) {
        assert!(begun.elapsed() < testkit::wait::TIMEOUT, "the last versions do not serve:\n{}", gateway.log());
        std::thread::yield_now();
    }
}
