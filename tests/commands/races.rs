//! What `check` relies on while it starts servers: a process that is being started has copies of our
//! descriptors until its program runs.
#![cfg(target_os = "linux")]

use std::{
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use examiner::{play, process::FreeAddr};

#[test]
fn a_reset_is_seen_at_once_and_nothing_listens_on_a_free_address_while_servers_start() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    let enough = AtomicBool::new(false);
    let (late, taken) = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let ended = Command::new("true").status();
                    assert!(ended.expect("it can be run").success());
                }
            });
        }
        let (mut late, mut taken) = (0, 0);
        for _ in 0..1000 {
            let ours = TcpStream::connect(addr).expect("it listens");
            let (mut theirs, _) = listener.accept().expect("we connected");
            theirs.set_nonblocking(true).expect("it is a socket");
            play::reset(&ours).expect("it is connected");
            let seen = theirs.read(&mut [0]).map_err(|error| error.kind());
            late += i32::from(seen != Err(ErrorKind::ConnectionReset));
            let free = FreeAddr::find().expect("there is one");
            taken += i32::from(TcpStream::connect(free.addr()).is_ok());
        }
        enough.store(true, Ordering::Relaxed);
        (late, taken)
    });
    assert_eq!((late, taken), (0, 0), "of 1000 each");
}
