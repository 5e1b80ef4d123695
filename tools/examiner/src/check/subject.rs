//! The readers' own servers: one that runs already, one in a Cargo project.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use cargo_metadata::Message;

use crate::{
    Error,
    process::{ADDR, reached_at},
    stages,
};

/// How long to wait for a connection, where a name stands for several addresses.
const CONNECT: Duration = Duration::from_secs(4);

/// The address that `HOST:PORT` stands for; of several on this machine, one that accepts connections.
///
/// # Errors
///
/// When it stands for none.
pub fn resolve(addr: &str) -> Result<SocketAddr, Error> {
    let what = format!("{addr} isn't an address; expected HOST:PORT");
    let addrs = addr.to_socket_addrs();
    let addrs = addrs.map_err(|error| Error::io(&what, error))?;
    let addrs: Vec<SocketAddr> = addrs.map(reached_at).collect();
    // `localhost` is two addresses on many systems, and most servers listen on one of them.
    let listens = |addr: &&SocketAddr| {
        addr.ip().is_loopback() && TcpStream::connect_timeout(addr, CONNECT).is_ok()
    };
    let listening = addrs.iter().find(|addr| addrs.len() > 1 && listens(addr));
    let found = listening.or(addrs.first()).copied();
    found.ok_or(Error::Usage(what))
}

/// Builds a reader's project, and finds its one program.
pub(super) fn build(dir: &Path) -> Result<PathBuf, Error> {
    let shown = dir.display();
    if !dir.join("Cargo.toml").is_file() {
        return Err(Error::Usage(format!(
            "{shown} has no Cargo.toml; `cargo run -- new DIR` makes a project"
        )));
    }
    let output = Command::new(stages::cargo())
        .args(["build", "--bins"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Error::io("cannot run cargo", error))?;
    if !output.status.success() {
        return Err(Error::Build(format!(
            "{shown} does not build; the compiler says why above"
        )));
    }
    let programs = Message::parse_stream(&output.stdout[..]).filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) => artifact.executable.map(PathBuf::from),
        _ => None,
    });
    match programs.collect::<Vec<_>>().as_slice() {
        [program] => Ok(program.clone()),
        [] => Err(Error::Usage(format!("{shown} builds no program"))),
        programs => Err(Error::Usage(format!(
            "{shown} builds {} programs; give the one to examine as a command: check STAGE -- PROGRAM {ADDR}",
            programs.len()
        ))),
    }
}
