//! Downloads from a server of the test's own, which breaks off and misbehaves on demand.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// What the server does with one request, given the first byte it asks for.
type Answer = fn(&mut TcpStream, &[u8], usize) -> std::io::Result<()>;

/// Serves `content`, one connection per answer; `join` gives the first byte each request asked for.
fn serve(content: Vec<u8>, answers: Vec<Answer>) -> (String, JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/model", listener.local_addr().unwrap());
    #[allow(clippy::disallowed_methods, reason = "a test may panic")]
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut start = 0;
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let line = line.unwrap().to_lowercase();
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    start = range.trim_end_matches('-').parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            asked.push(start);
            let _ = answer(&mut stream, &content, start); // the client may hang up
        }
        asked
    });
    (url, server)
}

fn head(stream: &mut TcpStream, status: &str, content: &[u8], start: usize) -> std::io::Result<()> {
    let (len, all) = (content.len() - start, content.len());
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n")?;
    if status.starts_with("206") {
        write!(stream, "Content-Range: bytes {start}-{}/{all}\r\n", all - 1)?;
    }
    write!(stream, "\r\n")
}

fn the_rest(stream: &mut TcpStream, content: &[u8], start: usize) -> std::io::Result<()> {
    head(stream, "206 Partial Content", content, start)?;
    stream.write_all(&content[start..])
}

fn half_of_the_rest(stream: &mut TcpStream, content: &[u8], start: usize) -> std::io::Result<()> {
    head(stream, "206 Partial Content", content, start)?;
    stream.write_all(&content[start..start + (content.len() - start) / 2])
}

fn everything(stream: &mut TcpStream, content: &[u8], _: usize) -> std::io::Result<()> {
    head(stream, "200 OK", content, 0)?;
    stream.write_all(content)
}

fn not_found(stream: &mut TcpStream, _: &[u8], _: usize) -> std::io::Result<()> {
    head(stream, "404 Not Found", &[], 0)
}

/// An empty folder that is deleted with the value, and the path of a model in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("picolm-fetch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        Folder(dir)
    }

    fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    fn part(&self) -> PathBuf {
        self.0.join("model.part")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content() -> (Vec<u8>, String) {
    let content: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    (content, sha256)
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let folder = Folder::new("resume");
    let (content, sha256) = content();
    let (url, server) = serve(content.clone(), vec![half_of_the_rest, half_of_the_rest, the_rest]);
    download(&url, &folder.model(), content.len() as u64, &sha256).unwrap();
    assert_eq!(fs::read(folder.model()).unwrap(), content);
    assert!(!folder.part().exists());
    let asked = server.join().unwrap();
    assert_eq!(asked[0], 0);
    assert!(asked[0] < asked[1] && asked[1] < asked[2], "{asked:?}");
}

#[test]
fn a_part_of_an_earlier_run_is_used() {
    let folder = Folder::new("part");
    let (content, sha256) = content();
    fs::write(folder.part(), &content[..123_456]).unwrap();
    let (url, server) = serve(content.clone(), vec![the_rest]);
    download(&url, &folder.model(), content.len() as u64, &sha256).unwrap();
    assert_eq!(fs::read(folder.model()).unwrap(), content);
    assert_eq!(server.join().unwrap(), [123_456]);
}

#[test]
fn a_corrupt_part_is_dropped_and_fetched_again() {
    let folder = Folder::new("corrupt");
    let (content, sha256) = content();
    // A wrong beginning of the right length to resume, and one that is too long.
    for wrong in [vec![0xAA; 1000], vec![0xAA; content.len() + 1]] {
        fs::write(folder.part(), &wrong).unwrap();
        let resumes =
            if wrong.len() < content.len() { vec![the_rest as Answer, the_rest] } else { vec![the_rest as Answer] };
        let (url, server) = serve(content.clone(), resumes);
        download(&url, &folder.model(), content.len() as u64, &sha256).unwrap();
        assert_eq!(fs::read(folder.model()).unwrap(), content);
        assert_eq!(*server.join().unwrap().last().unwrap(), 0);
    }
}

#[test]
fn a_server_without_ranges_starts_over() {
    let folder = Folder::new("ranges");
    let (content, sha256) = content();
    fs::write(folder.part(), &content[..1000]).unwrap();
    let (url, server) = serve(content.clone(), vec![everything]);
    download(&url, &folder.model(), content.len() as u64, &sha256).unwrap();
    assert_eq!(fs::read(folder.model()).unwrap(), content);
    server.join().unwrap();
}

#[test]
fn other_content_is_refused_and_deleted() {
    let folder = Folder::new("other");
    let (mut content, sha256) = content();
    content[77] ^= 1;
    let (url, server) = serve(content.clone(), vec![the_rest]);
    let error = download(&url, &folder.model(), content.len() as u64, &sha256).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error:#}");
    assert!(!folder.model().exists() && !folder.part().exists());
    server.join().unwrap();
}

#[test]
fn a_refusal_is_an_error_at_once() {
    let folder = Folder::new("refusal");
    let (url, server) = serve(Vec::new(), vec![not_found]);
    let error = download(&url, &folder.model(), 10, "").unwrap_err();
    assert!(format!("{error:#}").contains("404"), "{error:#}");
    assert!(!folder.model().exists() && !folder.part().exists());
    server.join().unwrap();
}
