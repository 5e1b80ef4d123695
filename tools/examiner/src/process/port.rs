//! Addresses to listen on, and where they are reached.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    ops::Range,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use socket2::{Domain, Socket, Type};

use crate::Error;

/// Below the ports that systems hand out by themselves.
const PORTS: Range<u16> = 20_000..30_000;

/// An address of loopback that is free. No other process that asks for one gets the same as long as this value
/// lives.
#[derive(Debug)]
pub struct FreeAddr {
    addr: SocketAddr,
    /// The UDP port of the same number, which only one process can have; a server needs the TCP port.
    _taken: UdpSocket,
}

impl FreeAddr {
    /// Finds one.
    ///
    /// # Errors
    ///
    /// If all are taken.
    pub fn find() -> io::Result<FreeAddr> {
        static GIVEN_AWAY: AtomicU32 = AtomicU32::new(0);
        for _ in PORTS {
            // Two processes start at different ports, and one doesn't use a port again at once.
            let number = GIVEN_AWAY
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(process::id().wrapping_mul(97));
            let port = PORTS.start + (number % PORTS.len() as u32) as u16;
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            // If the first is taken, its owner may be about to listen, so the second isn't even tried.
            if let Ok(_taken) = UdpSocket::bind(addr)
                && can_be_listened_on(addr)?
            {
                return Ok(FreeAddr { addr, _taken });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Whether the address is free. It binds but doesn't listen: a process that is just being started inherits a
/// copy of the socket for a moment, and a client waiting for the server would be let in there.
fn can_be_listened_on(addr: SocketAddr) -> io::Result<bool> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // A listener sets the same, so neither is in the way of the other.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    Ok(socket.bind(&addr.into()).is_ok())
}

/// Where to reach a server that says it listens there. It must be on this machine: what a conversation sends
/// is meant for no other.
///
/// # Errors
///
/// If it's elsewhere, or nowhere.
pub(super) fn here(addr: SocketAddr) -> Result<SocketAddr, Error> {
    let reached = reached_at(addr);
    let why_not = match reached.ip().to_canonical().is_loopback() {
        _ if addr.port() == 0 => {
            "; port 0 is what it was asked for, and the listener's `local_addr` tells which port it got"
        }
        true => return Ok(reached),
        false => ", which is not the loopback address that it was given, so nothing is sent there",
    };
    let what = format!("the server says that it listens on {addr}{why_not}");
    Err(Error::Server(what))
}

/// Where to reach a server that listens there. One that listens everywhere is reached on loopback, because not
/// every system connects to the unspecified address.
pub(crate) fn reached_at(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_process_finds_the_same_address() {
        let free = FreeAddr::find().unwrap();
        // Another process that comes to this port tries this first.
        let error = UdpSocket::bind(free.addr).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // The server itself isn't kept from it.
        std::net::TcpListener::bind(free.addr).unwrap();
    }

    #[test]
    fn a_server_is_looked_for_on_this_machine_only() {
        let cases = "\
            127.0.0.1:80 127.0.0.1:80
            127.1.2.3:80 127.1.2.3:80
            0.0.0.0:80 127.0.0.1:80
            [::1]:80 [::1]:80
            [::]:80 [::1]:80
            [::ffff:127.0.0.1]:80 [::ffff:127.0.0.1]:80
            192.0.2.7:80 , which is not the loopback address
            [2001:db8::7]:80 , which is not the loopback address
            [::ffff:192.0.2.7]:80 , which is not the loopback address
            127.0.0.1:0 ; port 0 is what it was asked for";
        for case in cases.lines() {
            let (said, expected) = case.trim().split_once(' ').unwrap();
            match here(said.parse().unwrap()) {
                Ok(reached) => assert_eq!(reached.to_string(), expected),
                Err(error) => {
                    let error = error.to_string();
                    let why = format!("the server says that it listens on {said}{expected}");
                    assert!(error.starts_with(&why), "{error}");
                }
            }
        }
    }
}
