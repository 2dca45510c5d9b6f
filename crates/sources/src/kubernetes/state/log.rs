//! Objects as a log of changes in one file: a change costs what it touches, and many small objects take the room of their texts. Once most of
//! it is of the past, it is written anew without that.
//!
//! The first line has the length that the file had when it was last written as a whole: a shorter one lacks objects. What is behind is one
//! line for each change, `RESOURCE NAMESPACE NAME JSON`, without the JSON where the object is gone. A line without an end is a change that
//! was not written as a whole, and counts as not made.
//!
//! Two processes may use one file while one follows the other: each change is one write under a lock, and a file that was replaced is opened
//! anew.

use resources::api::{ALL, ApiResource};
use resources::key::ObjectRef;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::ops::Deref;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What the first line begins with; a length of 20 digits follows.
const HEADER: &str = "moongate objects ";
/// The length of the first line.
const HEADER_LENGTH: u64 = HEADER.len() as u64 + 21;
/// Stands for the namespace of objects that belong to none.
const CLUSTER: &str = "-";
/// A log below this length is not worth being written anew.
const SMALL: u64 = 1 << 20;

/// An object as JSON.
pub(crate) type Text = Box<[u8]>;

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Where it is written, once it was.
    file: Option<File>,
    /// Whether it has objects: a new file in its place would lack them.
    is_begun: bool,
    /// The length behind which it is written anew.
    limit: u64,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, is_begun: false, limit: SMALL }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The text of every object, each of which is JSON; `None` if any of them cannot be read: what is missing might be a policy, without which
    /// nothing may be served.
    pub(super) fn read(&mut self) -> io::Result<Option<Vec<Text>>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.lock_shared()?;
        let length = file.metadata()?.len();
        let mut lines = Lines::of(&file)?;
        if !lines.begins_well(length)? {
            return Ok(None);
        }
        let mut objects = BTreeMap::new();
        while let Some(line) = lines.next()? {
            let Some((name, text)) = split(line.text) else { return Ok(None) };
            if text.is_empty() {
                objects.remove(name);
                continue;
            }
            match serde_json::from_slice::<Value>(text) {
                // All values at once would take many times the room of their texts.
                Ok(_) => drop(objects.insert(name.to_owned(), (Text::from(text), line.text.len() as u64 + 1))),
                Err(error) => {
                    let object = String::from_utf8_lossy(name);
                    tracing::error!(
                        %error, %object, file = %self.path.display(),
                        "an object that was kept cannot be read, so that nothing that was kept is used"
                    );
                    return Ok(None);
                }
            }
        }
        self.is_begun = true;
        self.limit = limit(objects.values().map(|(_, length)| length).sum());
        Ok(Some(objects.into_values().map(|(text, _)| text).collect()))
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        (self.file, self.is_begun) = (None, false);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Adds that an object is this text now, or gone. Names that no API server gives are left out.
    pub(super) fn append(&mut self, object: &ObjectRef, text: Option<&[u8]>) -> io::Result<()> {
        let Some(record) = record(object, text) else { return Ok(()) };
        let length = {
            let file = self.locked()?;
            let length = file.metadata()?.len();
            (&*file).write_all(&record)?;
            length + record.len() as u64
        };
        if length > self.limit
            && let Err(error) = self.rewrite()
        {
            // The change is there, with more of the past than is needed.
            tracing::warn!(%error, file = %self.path.display(), "what was kept could not be written anew");
        }
        Ok(())
    }

    /// Writes the file anew, with what counts alone.
    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        let old = self.locked()?;
        let new_path = self.path.with_extension("new");
        let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new_path)?;
        let written = copy(&old, &new).and_then(|length| {
            new.sync_all()?;
            fs::rename(&new_path, &self.path)?;
            Ok(length)
        });
        // Also after an error: the file would be written anew for each change else.
        self.limit = limit(written.as_ref().map_or(self.limit, |length| *length));
        if written.is_err() {
            let _ = fs::remove_file(&new_path);
        }
        self.file = None;
        written.map(drop)
    }

    /// The file, with a lock that lasts until the handle is dropped, and with whole records. It is made where there was none.
    fn locked(&mut self) -> io::Result<Locked> {
        loop {
            let file = match self.file.take() {
                Some(file) => file,
                None => {
                    let mut options = OpenOptions::new();
                    options.read(true).append(true).create(!self.is_begun).mode(0o600).open(&self.path)?
                }
            };
            file.lock()?;
            let file = Locked(file);
            let (here, there) = (file.metadata()?, fs::metadata(&self.path)?);
            // Another process may have put a new file in its place.
            if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
                continue;
            }
            if whole(&file, here.len())? == 0 {
                let written = (&*file).write_all(header(HEADER_LENGTH).as_bytes());
                written.inspect_err(|_| drop(file.set_len(0)))?;
            }
            self.file = Some(file.try_clone()?);
            self.is_begun = true;
            return Ok(file);
        }
    }
}

/// A file while no other process writes it.
struct Locked(File);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // The lock belongs to every handle of the file, of which one stays open. It can only fail where there is none.
        let _ = self.0.unlock();
    }
}

/// The lines of a log, one at a time.
struct Lines<'a> {
    file: BufReader<&'a File>,
    /// Where the last line that has an end ends, and the next one begins.
    next: u64,
    buffer: Vec<u8>,
}

/// A line without its end, and where it begins.
struct Line<'a> {
    at: u64,
    text: &'a [u8],
}

impl<'a> Lines<'a> {
    fn of(mut file: &'a File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: BufReader::new(file), next: 0, buffer: Vec::new() })
    }

    /// Takes the first line. Whether the file has at least the length that it says.
    fn begins_well(&mut self, length: u64) -> io::Result<bool> {
        let Some(line) = self.next()? else { return Ok(false) };
        let text = line.text.strip_prefix(HEADER.as_bytes()).and_then(|text| std::str::from_utf8(text).ok());
        Ok(text.and_then(|text| text.parse::<u64>().ok()).is_some_and(|least| length >= least))
    }

    /// The next line that has an end.
    fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let count = self.file.read_until(b'\n', &mut self.buffer)?;
        let at = self.next;
        let line = self.buffer.strip_suffix(b"\n").map(|text| Line { at, text });
        if line.is_some() {
            self.next += count as u64;
        }
        Ok(line)
    }
}

/// The length of a log, which is locked and has this length, without a record that was not written as a whole: that is cut off.
fn whole(file: &File, length: u64) -> io::Result<u64> {
    let Some(last) = length.checked_sub(1) else { return Ok(0) };
    let mut octet = [0];
    file.read_exact_at(&mut octet, last)?;
    if octet == *b"\n" {
        return Ok(length);
    }
    let mut lines = Lines::of(file)?;
    while lines.next()?.is_some() {}
    file.set_len(lines.next)?;
    Ok(lines.next)
}

/// Copies what counts of a log, which is locked, into an empty file. The length of that.
fn copy(old: &File, new: &File) -> io::Result<u64> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a line is malformed");
    let mut last: HashMap<Box<[u8]>, u64> = HashMap::new();
    let mut lines = Lines::of(old)?;
    lines.next()?;
    while let Some(Line { at, text }) = lines.next()? {
        let (name, text) = split(text).ok_or_else(malformed)?;
        if text.is_empty() {
            last.remove(name);
        } else {
            last.insert(name.into(), at);
        }
    }
    let mut out = BufWriter::new(new);
    out.write_all(header(0).as_bytes())?;
    let mut lines = Lines::of(old)?;
    lines.next()?;
    while let Some(Line { at, text }) = lines.next()? {
        if split(text).is_some_and(|(name, _)| last.get(name) == Some(&at)) {
            out.write_all(text)?;
            out.write_all(b"\n")?;
        }
    }
    let length = out.stream_position()?;
    out.rewind()?;
    out.write_all(header(length).as_bytes())?;
    out.flush()?;
    Ok(length)
}

/// The length behind which a log is written anew of which so much counts.
fn limit(length: u64) -> u64 {
    length.saturating_mul(2).max(SMALL)
}

fn header(length: u64) -> String {
    format!("{HEADER}{length:020}\n")
}

/// A line for a change; `None` for names that no API server gives.
fn record(object: &ObjectRef, text: Option<&[u8]>) -> Option<Vec<u8>> {
    let (namespace, name) = (&object.key.namespace, &object.key.name);
    let is_safe = |text: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 253 && text.chars().all(is_allowed)
    };
    if !is_safe(name) || !namespace.is_empty() && !is_safe(namespace) {
        return None;
    }
    let resource = ApiResource::of(object.kind)?.full_name();
    let namespace = if namespace.is_empty() { CLUSTER } else { namespace };
    let mut record = format!("{resource} {namespace} {name} ").into_bytes();
    record.extend(text.unwrap_or_default());
    record.push(b'\n');
    Some(record)
}

/// The name of what a line is about, and its text.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut spaces = line.iter().enumerate().filter(|(_, octet)| **octet == b' ').map(|(at, _)| at);
    let (resource, end) = (spaces.next()?, spaces.nth(1)?);
    let known = |name: &[u8]| ALL.iter().any(|one| one.full_name().as_bytes() == name);
    known(line.get(..resource)?).then_some((line.get(..end)?, line.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::key::{Key, Kind};
    use serde_json::json;

    fn secret(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::Secret, key: Key::new("a", name) }
    }

    fn text(name: &str, version: usize) -> Vec<u8> {
        json!({"name": name, "version": version}).to_string().into_bytes()
    }

    /// A log of a new folder, which has to be kept.
    fn log() -> (tempfile::TempDir, Log) {
        let place = tempfile::tempdir().unwrap();
        let log = Log::new(place.path().join("log"));
        (place, log)
    }

    fn read(log: &Log) -> Option<Vec<Value>> {
        let texts = Log::new(log.path.clone()).read().unwrap()?;
        Some(texts.iter().map(|text| serde_json::from_slice(text).unwrap()).collect())
    }

    fn put(log: &mut Log, name: &str, version: usize) {
        log.append(&secret(name), Some(&text(name, version))).unwrap();
    }

    #[test]
    fn the_last_change_of_each_object_counts() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_place, mut log) = log();
        assert_eq!(read(&log), None, "what is not there is not empty");
        put(&mut log, "one", 1);
        put(&mut log, "two", 1);
        put(&mut log, "one", 2);
        log.append(&secret("two"), None).unwrap();
        log.append(&secret("three"), None).unwrap();
        log.append(&ObjectRef { kind: Kind::Namespace, key: Key::new("", "n") }, Some(b"{\"a b\": \" c \"}")).unwrap();
        let all = vec![json!({"a b": " c "}), json!({"name": "one", "version": 2})];
        assert_eq!(read(&log), Some(all.clone()));
        let (length, mode) = fs::metadata(&log.path).map(|data| (data.len(), data.permissions().mode())).unwrap();
        assert_eq!(mode & 0o777, 0o600);
        log.rewrite().unwrap();
        let rewritten = fs::metadata(&log.path).unwrap();
        assert!(rewritten.len() < length && rewritten.permissions().mode() & 0o777 == 0o600);
        assert_eq!(read(&log), Some(all));
        put(&mut log, "two", 3);
        assert_eq!(read(&log).map(|all| all.len()), Some(3));
        log.clear().unwrap();
        assert_eq!(read(&log), None);
    }

    #[test]
    fn the_past_is_dropped_once_it_is_most_of_the_file() {
        let (_place, mut log) = log();
        let large = vec![b'1'; 64 << 10];
        for _ in 0..200 {
            log.append(&secret("large"), Some(&large)).unwrap();
            assert!(fs::metadata(&log.path).unwrap().len() < SMALL + (65 << 10));
        }
        put(&mut log, "one", 1);
        assert_eq!(split(&record(&secret("one"), None).unwrap()).unwrap().0, b"secrets a one");
        let kept = fs::read(&log.path).unwrap();
        assert!(kept.windows(14).any(|part| part == b"secrets a one "), "what follows is in the new file");
    }

    #[test]
    fn a_change_that_was_cut_was_not_made_and_a_file_that_was_cut_is_not_used() {
        let (_place, mut log) = log();
        put(&mut log, "one", 1);
        put(&mut log, "two", 1);
        log.rewrite().unwrap();
        put(&mut log, "two", 2);
        let whole = fs::read(&log.path).unwrap();
        let versions = |length: usize| {
            fs::write(&log.path, &whole[..length]).unwrap();
            read(&log).map(|all| all.iter().map(|one| one["version"].as_u64().unwrap()).collect::<Vec<_>>())
        };
        let first = whole.len() - record(&secret("two"), Some(&text("two", 2))).unwrap().len();
        for length in 0..whole.len() {
            let expected = if length < first { None } else { Some(vec![1, 1]) };
            assert_eq!(versions(length), expected, "{length}");
        }
        assert_eq!(versions(whole.len()), Some(vec![1, 2]));
        for line in ["secrets a b {", "unknown a b {}", "secrets a"] {
            fs::write(&log.path, [&whole, line.as_bytes(), b"\n"].concat()).unwrap();
            assert_eq!(read(&log), None, "{line}");
        }
    }

    #[test]
    fn a_record_that_was_cut_is_replaced_by_the_next() {
        let (_place, mut log) = log();
        put(&mut log, "one", 1);
        let mut file = OpenOptions::new().append(true).open(&log.path).unwrap();
        file.write_all(b"secrets a two {\"na").unwrap();
        let mut next = Log::new(log.path.clone());
        assert_eq!(next.read().unwrap().map(|all| all.len()), Some(1));
        put(&mut next, "two", 1);
        assert_eq!(read(&log).map(|all| all.len()), Some(2));
        file.write_all(b"secrets a three {").unwrap();
        put(&mut log, "four", 1);
        assert_eq!(read(&log).map(|all| all.len()), Some(3), "also what another process has begun");
    }

    #[test]
    fn two_processes_write_one_file() {
        let (_place, mut one) = log();
        let mut other = Log::new(one.path.clone());
        put(&mut one, "one", 1);
        put(&mut other, "two", 1);
        one.rewrite().unwrap();
        put(&mut other, "three", 1);
        other.rewrite().unwrap();
        put(&mut one, "four", 1);
        assert_eq!(read(&one).map(|all| all.len()), Some(4));
    }

    #[test]
    fn names_cannot_be_another_line() {
        for name in ["..", ".", "", "a/b", "a b", "a\nb", ".a"] {
            assert_eq!(record(&secret(name), None), None, "{name:?}");
        }
        assert!(record(&secret("a.b-1"), None).is_some());
    }
}
