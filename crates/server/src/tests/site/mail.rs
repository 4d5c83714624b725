//! A mail server as far as a login goes: IMAP over TLS on loopback. The password `right` is right for everybody.

use std::path::Path;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::config::HostPort;

/// Starts it, and writes its certificate.
pub async fn start(certificate: &Path) -> HostPort {
    crate::tls::install_provider();
    let key = certificate.with_extension("key");
    crate::tls::make_self_signed("localhost", 2026, certificate, &key).unwrap();
    let acceptor = TlsAcceptor::from(crate::tls::load(certificate, &key).unwrap().config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let _closed_early = converse(BufReader::new(tls)).await;
            });
        }
    });
    HostPort { host: "127.0.0.1".into(), port }
}

async fn converse<S: AsyncBufReadExt + AsyncWriteExt + Unpin>(mut s: S) -> std::io::Result<()> {
    s.write_all(b"* OK [CAPABILITY IMAP4rev1] ready\r\n").await?;
    let mut line = String::new();
    s.read_line(&mut line).await?;
    assert!(line.starts_with("a LOGIN {"), "{line}");
    let _user = literal(&mut s, &line).await?;
    line.clear();
    s.read_line(&mut line).await?;
    let password = literal(&mut s, &line).await?;
    line.clear();
    s.read_line(&mut line).await?;
    assert_eq!(line, "\r\n");
    let answer: &[u8] = match password.as_slice() {
        b"right" => b"* CAPABILITY IMAP4rev1\r\na OK in\r\n",
        b"outage" => b"a NO [UNAVAILABLE] later\r\n",
        _ => b"a NO [AUTHENTICATIONFAILED] no\r\n",
    };
    s.write_all(answer).await
}

async fn literal<S: AsyncBufReadExt + AsyncWriteExt + Unpin>(s: &mut S, line: &str) -> std::io::Result<Vec<u8>> {
    let length = line.trim_end().rsplit_once('{').unwrap().1.trim_end_matches('}').parse().unwrap();
    s.write_all(b"+ go ahead\r\n").await?;
    let mut bytes = vec![0; length];
    s.read_exact(&mut bytes).await?;
    Ok(bytes)
}
