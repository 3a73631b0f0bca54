//! The page `docs/your-own-loader.md`: its blocks are the files they claim to be, and its Python loader works.
#![expect(clippy::unwrap_used, reason = "in a helper of a test too it fails the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a page, each with the words behind its opening fence.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n"));
            blocks.push((words, text.collect()));
        }
    }
    blocks
}

#[test]
fn what_the_page_shows_is_what_the_files_hold() {
    let page = read("docs/your-own-loader.md");
    let blocks = blocks(&page);
    for (language, file) in [
        ("python", "examples/python-loader/loader.py"),
        ("yaml", "examples/python-loader/group.yaml"),
        ("json", "client/service-config.json"),
    ] {
        let shown: Vec<_> = blocks.iter().filter(|(words, _)| *words == language).collect();
        assert_eq!(shown.len(), 1, "one {language} block");
        assert_eq!(shown[0].1, read(file), "the {language} block and {file} differ");
    }
    for (words, text) in &blocks {
        assert!(["python", "yaml", "json", "sh", "sh local", "sh cluster"].contains(words), "{words:?}");
        for file in text.split([' ', '=', '\n']).filter(|word| word.starts_with("examples/")) {
            assert!(repository().join(file).exists(), "the page names {file}, which is not there");
        }
    }
}

/// The Python loader as a process, ended when dropped.
struct Loader {
    process: Child,
    port: u16,
}

impl Loader {
    fn start() -> Loader {
        let mut process = Command::new("python3")
            .args(["-B", "examples/python-loader/loader.py", "0"])
            .current_dir(repository())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is needed: install the package python3");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        Loader { process, port }
    }

    /// Sends a request whose target is exactly this, and reads status, headers and body.
    fn ask(&self, method: &str, target: &str, body: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: users\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Either it ends now or it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_python_loader_answers_values_with_their_time_and_404_without() {
    let loader = Loader::start();
    let (status, head, body) = loader.ask("GET", "/users/ada", "");
    assert_eq!((status, body.as_slice()), (200, b"Ada Lovelace".as_slice()));
    assert!(head.contains("Cache-Control: max-age=60"), "{head}");
    let (status, head, body) = loader.ask("GET", "/users/nobody", "");
    assert_eq!((status, body.len()), (404, 0));
    assert!(!head.contains("Cache-Control"), "{head}");
}

#[test]
fn the_python_loader_tells_odd_keys_apart() {
    let loader = Loader::start();
    assert_eq!(loader.ask("GET", "/users/j%C3%BCrgen%2F1", "").2, "Jürgen".as_bytes());
    for (target, value) in [
        ("/users/a%2Fb", "slash"),
        ("/users/a%252Fb", "an encoded percent sign"),
        ("/users/..", "dots"),
        ("/users/a+b", "plus"),
        ("/users/a%20b", "space"),
        ("/users/%FF%00", "no text"),
    ] {
        assert_eq!(loader.ask("GET", target, "").0, 404, "{target} is not there yet");
        assert_eq!(loader.ask("PUT", target, value).0, 204, "{target}");
    }
    for (target, value) in
        [("/users/a%2Fb", "slash"), ("/users/a%252Fb", "an encoded percent sign"), ("/users/a+b", "plus")]
    {
        assert_eq!(loader.ask("GET", target, "").2, value.as_bytes(), "{target}");
    }
}

#[test]
fn a_value_that_is_put_is_answered_from_then_on() {
    let loader = Loader::start();
    assert_eq!(loader.ask("PUT", "/users/ada", "Ada King").0, 204);
    assert_eq!(loader.ask("GET", "/users/ada", "").2, b"Ada King");
}
