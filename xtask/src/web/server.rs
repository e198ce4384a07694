//! A small HTTP server for a folder of files: GET and HEAD, byte ranges, entity tags, connections that stay open.
//!
//! It sends the headers that cross-origin isolation takes, and a content security policy. Pages get their policy from their
//! own `<meta>`; scripts get one for the workers they become: only those may fetch models from elsewhere.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// What is served: a folder, and single files from elsewhere under paths of their own.
pub(crate) struct Site {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<(String, PathBuf)>,
}

const HEADERS: &str = "Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Embedder-Policy: require-corp\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Referrer-Policy: no-referrer\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Accept-Ranges: bytes\r\n";
const PAGE_POLICY: &str = "frame-ancestors 'none'";
const SCRIPT_POLICY: &str =
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' https: http:";

const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("woff2", "font/woff2"),
];

/// Longest head of a request; longer ones end the connection.
const MOST_HEAD: u64 = 16 << 10;
const IDLE: Duration = Duration::from_secs(30);

/// Serves until the listener fails; each connection has a thread.
pub(crate) fn serve(listener: &TcpListener, site: &Site) {
    std::thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up in the middle has what it wanted.
            scope.spawn(move || connection(&stream, site));
        }
    });
}

fn connection(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let keep = request.keep;
        respond(stream, site, &request)?;
        if !keep {
            break;
        }
    }
    Ok(())
}

/// What counts of a request.
struct Request {
    method: String,
    path: String,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
    keep: bool,
}

impl Request {
    /// `None` where the connection has ended, or what comes is no request.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut head = reader.take(MOST_HEAD);
        let mut line = String::new();
        head.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Ok(None);
        };
        let mut request = Request {
            method: method.to_string(),
            path: decode(target.split(['?', '#']).next().unwrap_or_default()),
            range: None,
            if_range: None,
            if_none_match: None,
            keep: version == "HTTP/1.1",
        };
        loop {
            let mut line = String::new();
            if head.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok(line.trim_end().is_empty().then_some(request));
            };
            let value = value.trim().to_string();
            match name.to_ascii_lowercase().as_str() {
                "range" => request.range = Some(value),
                "if-range" => request.if_range = Some(value),
                "if-none-match" => request.if_none_match = Some(value),
                "connection" if value.eq_ignore_ascii_case("close") => request.keep = false,
                // What follows would be taken for the next request.
                "content-length" | "transfer-encoding" if value != "0" => request.keep = false,
                _ => {}
            }
        }
    }
}

fn respond(mut stream: &TcpStream, site: &Site, request: &Request) -> io::Result<()> {
    if request.method != "GET" && request.method != "HEAD" {
        return refuse(stream, request, "405 Method Not Allowed");
    }
    let found = site.find(&request.path).and_then(|path| Some((File::open(&path).ok()?, path)));
    let Some((mut file, path)) = found else {
        return refuse(stream, request, "404 Not Found");
    };
    let data = file.metadata()?;
    let changed = data.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let (size, tag) = (data.len(), format!("\"{:x}-{changed:x}\"", data.len()));
    if request.if_none_match.as_ref() == Some(&tag) {
        return write!(stream, "HTTP/1.1 304 Not Modified\r\n{HEADERS}ETag: {tag}\r\n\r\n");
    }
    let wanted = request.range.as_deref().filter(|_| request.if_range.as_ref().is_none_or(|known| *known == tag));
    let (status, from, to) = match wanted.map_or(Range::All, |text| Range::parse(text, size)) {
        Range::All => ("200 OK", 0, size),
        Range::Part(from, to) => ("206 Partial Content", from, to),
        Range::Outside => {
            let head = format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{size}");
            return refuse(stream, request, &head);
        }
    };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let kind = TYPES.iter().find(|(name, _)| *name == extension).map_or("application/octet-stream", |(_, kind)| kind);
    let policy = if extension == "js" { SCRIPT_POLICY } else { PAGE_POLICY };
    // Names with a hash never change; the others are asked for each time.
    let cache = if request.path.starts_with("/assets/") { "max-age=31536000, immutable" } else { "no-cache" };
    let mut head = format!("HTTP/1.1 {status}\r\n{HEADERS}Content-Type: {kind}\r\nContent-Length: {}\r\n", to - from);
    head += &format!("ETag: {tag}\r\nCache-Control: {cache}\r\nContent-Security-Policy: {policy}\r\n");
    if status.starts_with("206") {
        head += &format!("Content-Range: bytes {from}-{}/{size}\r\n", to - 1);
    }
    write!(stream, "{head}\r\n")?;
    if request.method == "GET" {
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file.take(to - from), &mut stream)?;
    }
    Ok(())
}

fn refuse(mut stream: &TcpStream, request: &Request, status: &str) -> io::Result<()> {
    let body = if request.method == "HEAD" { "" } else { status.split("\r\n").next().unwrap_or_default() };
    write!(stream, "HTTP/1.1 {status}\r\n{HEADERS}Content-Length: {}\r\n\r\n{body}", body.len())
}

impl Site {
    /// The file of a path. Nothing outside the folder.
    fn find(&self, path: &str) -> Option<PathBuf> {
        if let Some((_, file)) = self.files.iter().find(|(name, _)| name == path) {
            return Some(file.clone());
        }
        let relative = Path::new(path.strip_prefix('/')?);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) || path.contains('\\') {
            return None;
        }
        let file = self.root.join(relative);
        let file = if path.ends_with('/') { file.join("index.html") } else { file };
        fs::metadata(&file).is_ok_and(|data| data.is_file()).then_some(file)
    }
}

/// A part of a file, from the first byte to the one after the last.
#[derive(Debug, PartialEq)]
enum Range {
    All,
    Part(u64, u64),
    Outside,
}

impl Range {
    /// One range of a file of `size` bytes. Several at once, or what is no range, stands for all of it.
    fn parse(text: &str, size: u64) -> Range {
        let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Range::All;
        };
        let (from, to) = match (from.parse::<u64>(), to.parse::<u64>()) {
            (Ok(from), Ok(to)) if from <= to => (from, to.saturating_add(1).min(size)),
            (Ok(from), Err(_)) if to.is_empty() => (from, size),
            (Err(_), Ok(last)) if from.is_empty() => (size.saturating_sub(last), size),
            _ => return Range::All,
        };
        if from < to { Range::Part(from, to) } else { Range::Outside }
    }
}

/// `%20` and the like; what is no such code stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = text.is_ascii().then(|| after.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server of two files, and what it answers.
    fn ask(requests: &str) -> String {
        let dir = std::env::temp_dir().join(format!(
            "picolm-server-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(dir.join("site/assets")).unwrap();
        fs::write(dir.join("site/index.html"), "<p>page").unwrap();
        fs::write(dir.join("site/assets/a.js"), "script").unwrap();
        fs::write(dir.join("secret"), "secret").unwrap();
        fs::write(dir.join("model"), "0123456789").unwrap();
        let files = vec![("/models/m.gguf".to_string(), dir.join("model"))];
        let site = Site { root: dir.join("site"), files };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        #[allow(clippy::disallowed_methods, reason = "a test may panic")]
        let answer = std::thread::spawn({
            let requests = requests.replace('\n', "\r\n");
            move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let mut answer = Vec::new();
                // A connection that is ended with something unread is reset; what came before counts.
                let _ = stream.write_all(requests.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut answer);
                String::from_utf8(answer).unwrap()
            }
        });
        let (stream, _) = listener.accept().unwrap();
        let _ = connection(&stream, &site);
        drop(stream);
        let answer = answer.join().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        answer
    }

    #[test]
    fn the_page_its_scripts_and_the_model_with_their_headers() {
        let page = ask("GET / HTTP/1.1\n\n");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\n<p>page"), "{page}");
        for header in
            ["Cross-Origin-Opener-Policy: same-origin", "Cross-Origin-Embedder-Policy: require-corp", "text/html"]
        {
            assert!(page.contains(header), "{page}");
        }
        let script = ask("GET /assets/a.js?v=1 HTTP/1.1\n\n");
        assert!(
            script.contains("text/javascript") && script.contains("'wasm-unsafe-eval'") && script.contains("immutable"),
            "{script}"
        );
        let head = ask("HEAD /models/m.gguf HTTP/1.1\n\n");
        assert!(head.contains("Content-Length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn ranges_on_one_connection() {
        let range = |range: &str| format!("GET /models/m.gguf HTTP/1.1\nRange: bytes={range}\n\n");
        let answer = ask(&[range("2-4"), range("7-"), range("-2"), range("10-"), range("0-99")].concat());
        for part in [
            "bytes 2-4/10\r\n\r\n234",
            "bytes 7-9/10\r\n\r\n789",
            "bytes 8-9/10\r\n\r\n89",
            "416 Range",
            "bytes 0-9/10\r\n\r\n0123456789",
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }

    #[test]
    fn a_changed_file_is_sent_whole_and_an_unchanged_one_not_again() {
        let head = ask("HEAD /models/m.gguf HTTP/1.1\n\n");
        assert!(head.contains("ETag: \"a-"), "{head}");
        let other = ask("GET /models/m.gguf HTTP/1.1\nRange: bytes=2-4\nIf-Range: \"other\"\n\n");
        assert!(other.starts_with("HTTP/1.1 200 OK") && other.ends_with("0123456789"), "{other}");
    }

    #[test]
    fn nothing_outside_the_folder_and_no_other_methods() {
        for path in
            ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "//secret", "/assets/../../secret", "/missing", "secret"]
        {
            let answer = ask(&format!("GET {path} HTTP/1.1\n\n"));
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        assert!(ask("POST / HTTP/1.1\nContent-Length: 3\n\nabc").starts_with("HTTP/1.1 405"));
        assert_eq!(ask("nonsense\n\n"), "");
        assert_eq!(ask(&format!("GET / HTTP/1.1\nX: {}\n\n", "x".repeat(20_000))), "");
    }
}
