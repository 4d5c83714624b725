//! The service: one page on one port, and the word to systemd that it is ready.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::Behaviour;

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(address: SocketAddr, version: &str, behaviour: Behaviour) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("lockstep-sample-service {version} listens on {}", listener.local_addr()?);
    if behaviour != Behaviour::NeverReady {
        notify("READY=1")?;
    }
    if let Behaviour::CrashesAfter(time) = behaviour {
        thread::spawn(move || {
            thread::sleep(time);
            std::process::abort();
        });
    }
    for stream in listener.incoming() {
        // One that breaks off is its client's affair.
        drop(stream.and_then(|stream| answer(stream, version)));
    }
    Ok(())
}

/// Whether this program can run here: it serves itself a page.
///
/// # Errors
/// What does not work.
pub fn self_check(version: &str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let asking = thread::spawn(move || ask(address));
    answer(listener.accept()?.0, version)?;
    let page = asking.join().map_err(|_| io::Error::other("the asking thread failed"))??;
    if page.contains(version) { Ok(()) } else { Err(io::Error::other("the page is not what it should be")) }
}

/// `GET /` as text, for tests.
///
/// # Errors
/// Whatever the network says.
pub fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

fn answer(mut stream: TcpStream, version: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = [0; 1024];
    // Whatever is asked for, there is one page, also for a request in several pieces.
    let _length = stream.read(&mut request)?;
    let page = format!("lockstep-sample-service {version}\n");
    write!(stream, "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{page}", page.len())
}

/// sd_notify(3), where systemd has started this.
#[cfg(unix)]
fn notify(state: &str) -> io::Result<()> {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    };
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(unix))]
fn notify(_: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_serves_itself_a_page() {
        super::self_check("1.2.3").unwrap();
    }
}
