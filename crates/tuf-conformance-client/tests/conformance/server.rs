//! A web server on the loopback, one a test, and the ways in which it can be hostile.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::simulator::Published;

pub type Shared = Arc<Mutex<Published>>;

/// How some files are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With a length that is larger than anybody takes.
    Endless,
    /// In chunks that never end.
    EndlessChunks,
    /// One byte after the other, and a second between them.
    Slow,
    /// Half of it, then nothing, with the connection held open.
    Stalling,
    /// Somewhere else.
    Redirect,
}

#[derive(Debug)]
pub struct Server {
    pub url: String,
    manners: Arc<Mutex<Vec<(String, Manner)>>>,
}

impl Server {
    pub fn start(published: Shared) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/repository", listener.local_addr().unwrap());
        let manners = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&manners);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (published, manners) = (Arc::clone(&published), Arc::clone(&shared));
                // A client that goes away in the middle is what some tests are about.
                thread::spawn(move || serve(stream.ok()?, &published, &manners).ok());
            }
        });
        Self { url, manners }
    }

    /// Serves whatever ends so in this manner.
    pub fn hostile(&self, ending: &str, manner: Manner) {
        self.manners.lock().unwrap().push((ending.to_owned(), manner));
    }
}

fn serve(stream: TcpStream, published: &Shared, manners: &Mutex<Vec<(String, Manner)>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let path = path.strip_prefix("/repository/").unwrap_or_default().to_owned();
        let body = published.lock().unwrap().fetch(&path);
        let manner = manners.lock().unwrap().iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, m)| *m);
        match (body, manner) {
            (_, Some(manner)) => return serve_badly(&mut out, manner),
            (None, None) => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            (Some(body), None) => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
                out.write_all(&body)?;
            }
        }
    }
}

fn serve_badly(out: &mut TcpStream, manner: Manner) -> std::io::Result<()> {
    match manner {
        Manner::Endless => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX / 2)?;
            loop {
                out.write_all(&[b' '; 4096])?;
            }
        }
        Manner::EndlessChunks => {
            out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                out.write_all(b"400\r\n")?;
                out.write_all(&[b' '; 1024])?;
                out.write_all(b"\r\n")?;
            }
        }
        Manner::Slow => {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")?;
            loop {
                out.write_all(b" ")?;
                thread::sleep(Duration::from_secs(1));
            }
        }
        Manner::Stalling => {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nhalf")?;
            thread::sleep(Duration::from_secs(120));
            Ok(())
        }
        Manner::Redirect => {
            out.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/other\r\nContent-Length: 0\r\n\r\n")
        }
    }
}
