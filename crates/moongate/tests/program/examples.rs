//! `moongate demo --egress`: every folder of `examples/egress` is served as a user does, and the commands of its README print what it says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::wait::{TIMEOUT, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/egress")
}

/// A demo with its outputs in files; it ends when dropped, and its folders go.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start(example: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["demo", "--egress", "--example", example, "--admin", "127.0.0.1:0", "--ready", "127.0.0.1:0"]);
        command.args(args).stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        // The folders of the demo go with this one.
        command.env("TMPDIR", folder.path());
        let demo = Self { child: command.spawn().unwrap(), folder };
        until("the demo serves", || demo.stdout().contains("Decisions, as they are logged") || demo.has_ended());
        demo
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn stdout(&self) -> String {
        self.read("stdout")
    }

    fn has_ended(&self) -> bool {
        let text = self.read("stderr");
        assert!(!text.contains("error"), "{text}");
        false
    }

    /// The variables that the demo prints.
    fn variables(&self) -> String {
        let text = self.stdout();
        let line =
            text.lines().find(|line| line.starts_with("  export ")).unwrap_or_else(|| panic!("no variables: {text}"));
        line.trim().to_owned()
    }

    fn variable(&self, name: &str) -> String {
        let line = self.variables();
        let value = line.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")));
        value.unwrap_or_else(|| panic!("no {name}: {line}")).to_owned()
    }

    /// Runs a command as a user does in another terminal; what it printed.
    fn run(&self, command: &str) -> String {
        let program = Path::new(PROGRAM).parent().unwrap().display();
        let script = format!("unset no_proxy NO_PROXY; PATH={program}:$PATH; {}; {command}", self.variables());
        let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The commands of a README and the lines that each prints.
fn commands(readme: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let mut is_console = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            commands.push((command.to_owned(), Vec::new()));
        } else if let Some((_, printed)) = commands.last_mut().filter(|_| is_console) {
            printed.push(line.trim().to_owned());
        }
    }
    commands
}

#[test]
fn every_example_prints_what_its_readme_says() {
    let mut examples: Vec<String> =
        fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    examples.sort();
    let run = |name: &String| -> Vec<String> {
        let readme = fs::read_to_string(root().join(name).join("README.md")).unwrap();
        let demo = Demo::start(name, &[]);
        let mut faults = Vec::new();
        for (command, expected) in commands(&readme) {
            assert!(!expected.is_empty(), "{name}: `{command}` prints nothing");
            // A file that a command has changed is read a moment later.
            let (begun, mut printed) = (Instant::now(), demo.run(&command));
            while !expected.iter().all(|line| printed.contains(line)) && begun.elapsed() < TIMEOUT {
                // A command that writes the file again needs a while to be read.
                std::thread::sleep(Duration::from_millis(500));
                printed = demo.run(&command);
            }
            for line in expected.iter().filter(|line| !printed.contains(*line)) {
                faults.push(format!(
                    "{name}: `{command}` does not print `{line}` but\n{printed}\n{}",
                    demo.read("stderr")
                ));
            }
        }
        faults
    };
    let faults: Vec<String> = testkit::parallel_on(4, &examples, run).into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_first_minute_shows_a_destination_that_passes_and_one_that_is_denied() {
    let demo = Demo::start("allow-list", &[]);
    // The demo asks for both by itself, so that their lines are there at once.
    until("both decisions are shown", || {
        let text = demo.stdout();
        let has = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        has(&["allowed", "GET api.example.com/", "200", "by ServiceEntry default/api", "to 127.0.0.1:"])
            && has(&["denied", "GET news.example.com/", "403", "egress_denied{not_listed}"])
    });
    let text = demo.stdout();
    let proxy = demo.variable("https_proxy");
    assert!(
        text.contains(&format!("Moongate is a forward proxy on {}.", proxy.trim_start_matches("http://"))),
        "{text}"
    );
    assert!(text.contains("  curl -s https://api.example.com/\n"), "{text}");
    let tunnel = demo.run("curl -sv https://api.example.com/ 2>&1");
    assert!(tunnel.contains("SSL certificate verify ok") || tunnel.contains("certificate verified"), "{tunnel}");
    until("the tunnel is shown", || demo.stdout().contains("CONNECT api.example.com:443"));
    // What the gateway trusts is the demo's own; nothing of the user's folders is written to.
    assert!(demo.variable("CURL_CA_BUNDLE").starts_with(demo.folder.path().to_str().unwrap()));
}

#[test]
fn an_unknown_example_is_answered_with_all_of_them() {
    let output = Command::new(PROGRAM).args(["demo", "--egress", "--example", "nothing"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no example `nothing`") && said.contains("allow-list"), "{said}");
}
