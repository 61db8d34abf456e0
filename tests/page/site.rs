//! A small web server for the pages of a test: files of some folders, over HTTP, each connection for one request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

/// Serves the files below `folders`: each is a path of the site and its folder. Serves until the process of the test ends.
pub(crate) fn serve(folders: Vec<(&'static str, PathBuf)>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser also opens connections that it does not use, so none may hold up another.
            let folders = folders.clone();
            std::thread::spawn(move || answer(stream, &folders));
        }
    });
    address
}

fn answer(mut stream: TcpStream, folders: &[(&str, PathBuf)]) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?.take(1 << 16)).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let path = request.split(' ').nth(1)?;
    let path = if path == "/" { "/index.html" } else { path };
    let file = folders.iter().find_map(|(start, folder)| {
        let rest = path.strip_prefix(start)?;
        let is_inside = !rest.split('/').any(|part| part.starts_with('.'));
        is_inside.then(|| std::fs::read(folder.join(rest)).ok())?
    });
    let kind = if path.ends_with(".html") { "text/html" } else { "text/javascript" };
    let (status, body) = file.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.into_bytes(), body].concat()).ok()
}
