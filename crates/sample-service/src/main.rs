//! `lockstep-sample-service`: a tiny web service that Lockstep updates in its tests.

use std::{io, net::SocketAddr, process::ExitCode};

use sample_service::{Behaviour, package, serve};

const USAGE: &str = "usage: lockstep-sample-service run [ADDRESS:PORT] | self-check | --version";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7480);

fn main() -> ExitCode {
    match carry_out() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lockstep-sample-service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out() -> io::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (version, behaviour) = package::of_program(&std::env::current_exe()?.canonicalize()?)?;
    match arguments.next().as_deref() {
        Some("--version") => println!("lockstep-sample-service {version}"),
        Some("self-check") if behaviour == Behaviour::FailsItsCheck => return Ok(ExitCode::from(4)),
        Some("self-check") => serve::self_check(&version)?,
        Some("run") if behaviour == Behaviour::EndsAtOnce => return Ok(ExitCode::from(3)),
        Some("run") => {
            let address = match arguments.next().map(|text| text.parse()) {
                None => ADDRESS,
                Some(Ok(address)) => address,
                Some(Err(error)) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
            };
            serve::serve(address, &version, behaviour)?;
        }
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
